"""Times the training steps of detection and segmentation by size, with their memory.

python tools/bench_dense.py --encoders resnet18x0.25 --image_sizes 64 128

Prints a row of Markdown for each encoder, size and task. The step is the real one, of
random weights, on one batch that is already in memory; each row is a process of its
own, whose peak of memory (TensorFlow itself takes some 500 MB) is that row's. Times are
medians of a step; those of the CPU, over its cores, also compare on a busy machine.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

import find_tfssl  # noqa: F401

TASKS = {"retinanet": "detect", "rcnn_c4": "detect", "segment": "segment"}
"""What is timed, to its mode."""

HEADS = ("encoder", "pixels", "task", "batch", "images/s", "ms", "CPU ms", "peak MB")


def measure(options: argparse.Namespace) -> dict[str, float | int | str]:
    """The row of the first encoder, size and task."""
    from tfssl.config import startup

    startup.prepare_environment()
    import tensorflow as tf

    from tfssl.build import detection, segmentation
    from tfssl.config import Config, resolve
    from tfssl.data import open_source
    from tfssl.train.step import make_run_steps

    task = options.tasks[0]
    mode, rows = TASKS[task], options.batch_size
    given = {f"{mode}_batch_size": rows, f"{mode}_weights": "random"}
    if mode == "detect":
        given |= {"detector": task, "detect_regions": options.regions}
    if task == "retinanet":
        given["detect_width"] = options.width
    config = resolve(
        Config(
            mode=mode,
            encoder=options.encoders[0],
            image_size=options.image_sizes[0],
            precision=options.precision,
            dataset=f"shapes:{rows}",
            **given,
        )
    )
    target = "mask" if mode == "segment" else "boxes"
    size = {"image_size": config.image_size}
    data = open_source(config.dataset, "train", targets=target, **size)
    make = {"detect": detection.detection, "segment": segmentation.segmentation}
    job = make[mode](config, data)
    batch = next(job.batches(0))
    again = tf.data.Dataset.from_tensors(batch).repeat()
    batches = iter(job.strategy.distribute_datasets_from_function(lambda _: again))
    run_steps = make_run_steps(job.strategy, job.state, job.views)
    times: list[tuple[float, float]] = []
    end = 0.0
    while len(times) < 3 or time.perf_counter() < end:
        began = time.perf_counter(), time.process_time()
        run_steps(batches, tf.constant(1, tf.int64))["loss"].numpy()
        if end:
            now = time.perf_counter(), time.process_time()
            times.append((now[0] - began[0], now[1] - began[1]))
        end = end or time.perf_counter() + options.seconds
    step, busy = map(statistics.median, zip(*times, strict=True))
    return {
        "encoder": config.encoder,
        "pixels": config.image_size,
        "task": task,
        "batch": rows,
        "images/s": round(rows / step, 1),
        "ms": round(1e3 * step),
        "CPU ms": round(1e3 * busy),
        "peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def arguments() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoders", nargs="+", default=["resnet18x0.25"])
    parser.add_argument("--image_sizes", nargs="+", type=int, default=[64, 128])
    parser.add_argument("--tasks", nargs="+", choices=[*TASKS], default=[*TASKS])
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--regions", type=int, default=512, help="rcnn_c4, an image")
    parser.add_argument("--width", type=int, default=256, help="retinanet, channels")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each row")
    parser.add_argument("--row", action="store_true", help=argparse.SUPPRESS)
    return parser


def main() -> None:
    """Prints the table; with `--row` one row of it, as JSON."""
    if (options := arguments().parse_args()).row:
        print(json.dumps(measure(options)))
        return
    print(f"| {' | '.join(HEADS)} |\n|{'---|' * len(HEADS)}", flush=True)
    for encoder in options.encoders:
        for size in options.image_sizes:
            for task in options.tasks:
                only = f"--encoders {encoder} --image_sizes {size} --tasks {task}"
                command = [sys.executable, __file__, *sys.argv[1:], *only.split()]
                found = subprocess.run(
                    [*command, "--row"], stdout=subprocess.PIPE, text=True, check=True
                )
                row = json.loads(found.stdout.splitlines()[-1])
                print(f"| {' | '.join(str(row[h]) for h in HEADS)} |", flush=True)


if __name__ == "__main__":
    main()
