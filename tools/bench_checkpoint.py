"""How long a checkpoint holds training up, written in the foreground and in a thread.

python tools/bench_checkpoint.py [--encoder=resnet18_cifar]

Trains BYOL on a batch in memory, with a checkpoint every few steps, in three ways in
turn: none, in the foreground, in a thread. Prints one JSON line: seconds of a stretch
of steps in each way, and of the `save` calls in it.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from pathlib import Path

import bench_step

from tfssl.runs import CheckpointStore


def stretch(bench: bench_step.Bench, steps: int, store, number: int) -> tuple:
    """Seconds of some steps with one checkpoint in front, and of that checkpoint."""
    began = time.perf_counter()
    if store is not None:
        store.save(number, bench.state.items())
    saved = time.perf_counter() - began
    for _ in range(steps):
        bench.step()
    return time.perf_counter() - began, saved


def main() -> None:
    """Prints one JSON line."""
    parser = bench_step.arguments()
    parser.add_argument("--steps", type=int, default=4)
    options = parser.parse_args()
    bench = bench_step.Bench(bench_step.configuration(options), 1)
    bench.step()
    times: dict[str, list] = {"none": [], "foreground": [], "thread": []}
    with tempfile.TemporaryDirectory() as folder:
        stores = {
            "none": None,
            "foreground": CheckpointStore(Path(folder) / "a", keep=1),
            "thread": CheckpointStore(Path(folder) / "b", keep=1, background=True),
        }
        end, number = time.perf_counter() + options.seconds, 0
        while time.perf_counter() < end:
            number += 1
            for name, store in stores.items():
                times[name].append(stretch(bench, options.steps, store, number))
        stores["thread"].wait()
    items = bench.state.items().values()
    row = {
        "encoder": options.encoder,
        "megabytes": round(sum(i.numpy().nbytes for i in items) / 1e6, 1),
        "steps": options.steps,
    }
    for name, pairs in times.items():
        whole, saved = (
            statistics.median(column) for column in zip(*pairs, strict=True)
        )
        row[f"{name}_seconds"] = round(whole, 3)
        row[f"{name}_save_seconds"] = round(saved, 3)
    print(json.dumps(row))


if __name__ == "__main__":
    main()
