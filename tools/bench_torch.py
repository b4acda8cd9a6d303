"""Images/s of tfssl and of plain PyTorch: BYOL, the same network, batch and update.

python tools/bench_torch.py [--rounds=3 --seconds=30]     (needs torch, CPU build)

Each side runs alone, in a process of its own, in turn: in one process the threads of
either hold the cores that the other wants. tfssl runs its whole step, photometry
included; what PyTorch runs is said in torch_byol.py. Prints one JSON line: the median
step of each process, and the ratio of the medians of those.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path


def alone(script: str, options: argparse.Namespace) -> dict[str, object]:
    """Runs a script of this folder with `options`; returns the JSON line it prints."""
    flags = [
        f"--{name}={getattr(options, name)}"
        for name in ("seconds", "batch_size", "image_size")
    ]
    command = [sys.executable, str(Path(__file__).with_name(script)), *flags]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{script} ended with code {done.returncode}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Prints one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--image_size", type=int, default=32)
    options = parser.parse_args()
    steps: dict[str, list[float]] = {"tfssl": [], "torch": []}
    for _ in range(options.rounds):
        ours = alone("bench_step.py", options)
        theirs = alone("torch_byol.py", options)
        steps["tfssl"].append(ours["step_ms"])
        steps["torch"].append(theirs["step_ms"])
    middle = {name: statistics.median(values) for name, values in steps.items()}
    row = {
        "tfssl_step_ms": [round(value, 1) for value in steps["tfssl"]],
        "torch_step_ms": [round(value, 1) for value in steps["torch"]],
        "images_per_second_over_torch": round(middle["torch"] / middle["tfssl"], 4),
        "torch": theirs["version"],
    }
    print(json.dumps(row))


if __name__ == "__main__":
    main()
