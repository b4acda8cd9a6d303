"""How fast the input is, as ratios to pure JPEG decoding; prints one JSON line.

python tools/bench_input.py --images=DIR [--cifar=DIR] [--memory_images=20000]

Everything is measured in one run, interleaved, median of `--rounds`, for each number of
threads in a process of its own that keeps to so many cores:

* `decode`: `tf.io.decode_jpeg` of files already in memory, nothing else;
* `host_RECIPE`: reading, decoding once, two random crops, resizes and flips, batching;
* `full_RECIPE`: the same and the photometry, as training gets its views;
* `cifar_RECIPE`: the full rate for small images in memory, cut inside the step.

Rates are images a second, each image in two views. With `--memory_images` the growth of
the process's memory over so many images of the first recipe is added, in MB.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import find_tfssl  # noqa: F401

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

BATCH, SMALL_BATCH = 50, 256
WARM = 2  # batches before the clock starts: a run starts its pipeline once
RECIPES = "simclr,byol,moco_v2"
SMALL = "simclr_cifar"

Step = Callable[[], object]


def main() -> None:
    """Runs one process per number of threads and joins what they print."""
    arguments = _parse()
    if arguments.child:
        print(json.dumps(_measure(arguments)))
        return
    found = {}
    for threads in arguments.threads.split(","):
        command = [sys.executable, *sys.argv, f"--child={threads}"]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found[f"threads_{threads}"] = json.loads(done.stdout.splitlines()[-1])
    print(json.dumps(found))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", required=True, help="folder of JPEG photographs")
    parser.add_argument("--cifar", default="", help="folder of small images")
    parser.add_argument("--recipes", default=RECIPES, help="names, with commas")
    parser.add_argument("--count", type=int, default=400, help="images a measurement")
    parser.add_argument("--rounds", type=int, default=5, help="medians are over these")
    parser.add_argument("--threads", default="1,2", help="numbers, with commas")
    parser.add_argument("--memory_images", type=int, default=0, help="0: leave it out")
    parser.add_argument("--child", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


def _measure(arguments: argparse.Namespace) -> dict:
    # TensorFlow's pools are as large as the set of cores; its own settings miss some.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.child])

    from tfssl.config import startup

    startup.prepare_environment()  # as every run does
    import tensorflow as tf

    # As `core.runtime` sets it on the host of an accelerator.
    tf.config.threading.set_intra_op_parallelism_threads(1)
    starts = {"decode": _decoding(arguments.images)}
    recipes = arguments.recipes.split(",")
    for name in recipes:
        starts[f"host_{name}"] = _views(arguments.images, name, 224, False)
        starts[f"full_{name}"] = _views(arguments.images, name, 224, True)
    runs = {name: (start, BATCH, arguments.count) for name, start in starts.items()}
    if arguments.cifar:
        small = _views(arguments.cifar, SMALL, 32, True)
        runs[f"cifar_{SMALL}"] = (small, SMALL_BATCH, 40 * arguments.count)
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for counted in range(-1, arguments.rounds):  # the first round compiles
        for name, (start, batch, count) in runs.items():
            # A fresh iterator each time: a kept one fills its buffers meanwhile, at
            # the cost of the others, and then gives them away for nothing.
            step = start()
            for _ in range(WARM):
                step()
            began = time.perf_counter()
            for _ in range(count // batch):
                step()
            seconds = time.perf_counter() - began
            del step
            if counted >= 0:
                rates[name].append(count // batch * batch / seconds)
    result: dict = {name: round(statistics.median(r), 1) for name, r in rates.items()}
    result["ratios"] = {
        name: round(rate / result["decode"], 3)
        for name, rate in result.items()
        if name.startswith(("host", "full"))
    }
    if arguments.memory_images:
        step = starts[f"full_{recipes[0]}"]()
        result["memory_growth_mb"] = _growth(step, arguments.memory_images)
    return result


def _decoding(folder: str) -> Callable[[], Step]:
    import tensorflow as tf

    from tfssl.core import runtime

    files = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower()[:3] == ".jp")
    data = tf.constant([path.read_bytes() for path in files])

    def pixels(number: tf.Tensor) -> tf.Tensor:
        image = tf.io.decode_jpeg(data[number % len(files)], channels=3)
        return tf.reduce_sum(tf.cast(image[0, 0], tf.int32))

    images = tf.data.Dataset.range(2**40).map(pixels, tf.data.AUTOTUNE)
    batches = runtime.on_all_cores(images.batch(BATCH).prefetch(2))
    return lambda: iter(batches).__next__


def _views(folder: str, name: str, size: int, photometry: bool) -> Callable[[], Step]:
    import tensorflow as tf

    from tfssl.augment import RECIPES, crops
    from tfssl.data import is_small, open_source, training
    from tfssl.train import make_device_views, make_photometry

    source = open_source(f"folder:{folder}", "train", image_size=size)
    recipe, small = RECIPES[name], is_small(source, size)
    batch = SMALL_BATCH if small else BATCH
    settings = {"seed": 0, "global_batch": batch, "replica_batch": batch}
    batches = training(
        source,
        recipe,
        start_step=0,
        image_size=size,
        cutter=crops.ON_DEVICE if small else crops.host_cutter(True),
        **settings,
    )
    make = make_photometry(recipe, **settings)
    if small:
        images = tf.Variable(source.pixels())
        make = make_device_views(images, recipe, make, image_size=size, **settings)
    # In a graph, as training calls it.
    make = tf.function(make)

    def start() -> Step:
        waiting, steps = iter(batches), iter(range(2**40))

        def step() -> object:
            rows = next(waiting)
            if not photometry:
                return rows
            return make(rows, tf.constant(next(steps), tf.int64))

        return step

    return start


def _growth(step: Step, images: int) -> float:
    """MB that the resident memory grows by, after a tenth of the images."""
    sizes = []
    for number in range(images // BATCH):
        step()
        if number in (images // BATCH // 10, images // BATCH - 1):
            resident = int(Path("/proc/self/statm").read_text().split()[1])
            sizes.append(resident * os.sysconf("SC_PAGE_SIZE") / 2**20)
    return round(sizes[-1] - sizes[0], 1)


if __name__ == "__main__":
    main()
