"""Kills a run with SIGKILL at random moments, restarts it, compares the final weights.

python tools/kill_and_resume.py --kills=3 [byol simclr moco]

Prints one JSON line per method: kills that hit, and whether every tensor of the last
checkpoint is bit for bit that of an undisturbed run. Exit code 1 if one is not.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STEPS = 60

FLAGS = [
    "--mode=pretrain",
    "--dataset=shapes:64",
    "--image_size=16",
    "--encoder=resnet18x0.125_cifar",
    "--batch_size=16",
    f"--train_steps={STEPS}",
    "--warmup_epochs=0.5",
    "--learning_rate=0.05",
    "--steps_per_loop=2",
    "--checkpoint_every=5",
    "--projector_dim=16",
    "--noprogress",
]
OF_METHOD = {
    "byol": ["--projector_hidden=32", "--predictor_hidden=32"],
    "simclr": [],
    "moco": ["--queue_size=64"],
}


def start(method: str, run_dir: Path) -> subprocess.Popen:
    """Starts or continues a run."""
    command = [sys.executable, "-m", "tfssl.main", *FLAGS, *OF_METHOD[method]]
    command += [f"--method={method}", f"--run_dir={run_dir}"]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, stdout=quiet, stderr=quiet)


def steps_done(run_dir: Path) -> int:
    """Newest step in the log, 0 before the first."""
    log = run_dir / "log.jsonl"
    lines = log.read_text().splitlines() if log.exists() else []
    return json.loads(lines[-1])["step"] if lines else 0


def disturb(method: str, run_dir: Path, kills: int) -> int:
    """Runs to the end with `kills` kills at random steps; returns those that hit."""
    hit = 0
    for target in sorted(random.sample(range(8, STEPS - 4), kills)):
        process = start(method, run_dir)
        while process.poll() is None and steps_done(run_dir) < target:
            time.sleep(0.02)
        time.sleep(random.random() * 0.3)
        hit += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    if start(method, run_dir).wait():
        raise SystemExit(f"{method}: the restarted run failed")
    return hit


def main() -> int:
    """Runs the campaign."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("methods", nargs="*", default=sorted(OF_METHOD))
    arguments = parser.parse_args()
    random.seed(arguments.seed)
    worst = 0
    for method in arguments.methods:
        with tempfile.TemporaryDirectory() as folder:
            whole, broken = Path(folder) / "whole", Path(folder) / "broken"
            if start(method, whole).wait():
                raise SystemExit(f"{method}: the undisturbed run failed")
            hit = disturb(method, broken, arguments.kills)
            different = compare(whole, broken)
        row = {"method": method, "kills": hit, "different_tensors": different}
        print(json.dumps(row), flush=True)
        worst |= bool(different)
    return int(worst)


def compare(a: Path, b: Path) -> list[str]:
    """Names of the tensors that are not bit-identical after the last step."""
    from tfssl.train import checkpoint

    name = f"checkpoints/step-{STEPS:09d}"
    first, second = checkpoint.read(a / name), checkpoint.read(b / name)
    if first.keys() != second.keys():
        return sorted(first.keys() ^ second.keys())
    return [n for n in first if first[n].tobytes() != second[n].tobytes()]


if __name__ == "__main__":
    sys.exit(main())
