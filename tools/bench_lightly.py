"""Images a second of tfssl and of lightly: the input alone, and whole training.

    python3 -m venv lightly && lightly/bin/pip install lightly==1.6.0 torchvision
    python tools/bench_lightly.py --images=PHOTOS --python=lightly/bin/python

The same photographs, recipe, encoder and batch on both sides, each alone in a process
of its own, in turn. The other side (lightly_loop.py) is lightly's data set, transforms,
heads and losses in the loop that its examples show, with as many loading processes as
there are cores. Ours is bench_input.py, and a run of the program with all that it logs.
Both train with SGD. Prints one JSON line: all rates, and the ratio of the medians.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import find_tfssl  # noqa: F401

TOOLS = Path(__file__).parent
RECIPES = {"simclr": "simclr", "byol": "byol", "moco": "moco_v2"}


def ran(command: list[str]) -> str:
    """Runs one side; returns what it printed, or ends with what it complained of."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{command} ended with code {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout


def theirs(options: argparse.Namespace, method: str, what: str) -> float:
    """Returns lightly's images a second."""
    names = ("images", "image_size", "batch_size", "steps", "workers")
    flags = [f"--{name}={getattr(options, name)}" for name in names]
    script = [options.python, str(TOOLS / "lightly_loop.py")]
    printed = ran([*script, f"--method={method}", f"--what={what}", *flags])
    return json.loads(printed.splitlines()[-1])["images_per_second"]


def our_input(options: argparse.Namespace, method: str) -> float:
    """Returns tfssl's images a second in two finished views of 224 pixels."""
    flags = {
        "images": options.images,
        "recipes": RECIPES[method],
        "threads": options.workers,
        "count": options.steps * options.batch_size,
        "rounds": 1,
    }
    words = [f"--{name}={value}" for name, value in flags.items()]
    printed = ran([sys.executable, str(TOOLS / "bench_input.py"), *words])
    rates = json.loads(printed.splitlines()[-1])[f"threads_{options.workers}"]
    return rates[f"full_{RECIPES[method]}"]


def our_training(options: argparse.Namespace, method: str) -> float:
    """Returns tfssl's images a second in a run of the program, but for its start."""
    parts = 4
    with tempfile.TemporaryDirectory() as folder:
        flags = {
            "mode": "pretrain",
            "run_dir": folder,
            "dataset": f"folder:{options.images}",
            "method": method,
            "encoder": "resnet18",
            "image_size": options.image_size,
            "batch_size": options.batch_size,
            "optimizer": "sgd",
            "warmup_epochs": 0,
            "train_steps": parts * options.steps,
            "log_every": options.steps,
            "steps_per_loop": options.steps,
        }
        if method == "moco":
            flags["queue_size"] = 4096
        words = [f"--{name}={value}" for name, value in flags.items()]
        switches = ["--noonline_probe", "--noprogress", "--notensorboard"]
        ran([sys.executable, "-m", "tfssl.main", *words, *switches])
        log = Path(folder, "log.jsonl").read_text("utf-8")
    rows = [json.loads(line) for line in log.splitlines()]
    return statistics.median(row["images_per_second"] for row in rows[1:])


def main() -> None:
    """Prints one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", required=True, help="folder of JPEG photographs")
    parser.add_argument("--python", required=True, help="one that has lightly 1.6")
    parser.add_argument("--methods", default="simclr,byol,moco", help="with commas")
    parser.add_argument("--what", default="input,train", help="with commas")
    parser.add_argument("--image_size", type=int, default=224, help="of the training")
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=10, help="in a measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    options = parser.parse_args()
    sides = {"input": our_input, "train": our_training}
    found: dict[str, dict[str, object]] = {}
    for what in options.what.split(","):
        for method in options.methods.split(","):
            ours, other = [], []
            for _ in range(options.rounds):
                ours.append(round(sides[what](options, method), 1))
                other.append(round(theirs(options, method, what), 1))
            ratio = statistics.median(ours) / statistics.median(other)
            row = {"tfssl": ours, "lightly": other, "ratio": round(ratio, 2)}
            found[f"{what}_{method}"] = row
    print(json.dumps(found))


if __name__ == "__main__":
    main()
