"""Writes a data set as TFRecord files that `--dataset=tfrecord:` opens at once.

    python tools/make_tfrecords.py --dataset=folder:imagenet --split=train \
        --out=records --shards=1024 --shorter_side=256 --processes=16
    python -m tfssl.main --dataset='tfrecord:records/{split}-*.tfrecord' ...

Started again after a kill it goes on with the files that are missing. `--verify` reads
everything back afterwards. Unreadable images are left out, and named in manifest.json.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import os
import sys
from collections.abc import Callable

import find_tfssl  # noqa: F401

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def arguments(argv: list[str]) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--dataset", required=True, help="folder:DIR, list:FILE, tfds:…"
    )
    parser.add_argument("--split", default="train")
    parser.add_argument("--out", required=True, help="directory for the files")
    parser.add_argument("--shards", type=int, default=128, help="number of files")
    parser.add_argument("--shorter_side", type=int, default=0, help="0: as they are")
    parser.add_argument("--quality", type=int, default=95, help="JPEG, of the resized")
    parser.add_argument("--max_image_pixels", type=int, default=100_000_000)
    parser.add_argument("--data_dir", default=None)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--verify", action="store_true")
    return parser.parse_args(argv)


@functools.cache
def opened(settings, data_dir: str | None):
    """The source; once a process."""
    from tfssl.data import open_source

    return open_source(
        settings.dataset,
        settings.split,
        image_size=0,
        memory=0,
        data_dir=data_dir,
        max_pixels=settings.max_pixels,
    )


def write_one(job: tuple) -> int:
    """Writes one file; runs in a process or on a worker of its own."""
    from tfssl.data import tfrecord_write

    settings, data_dir, out, number = job
    return tfrecord_write.write_shard(opened(settings, data_dir), settings, out, number)


def make(argv: list[str], run: Callable) -> int:
    """Writes everything.

    Args:
      argv: Arguments.
      run: Function of (options, jobs) that calls `write_one` on each job.

    Returns:
      The exit code.
    """
    options = arguments(argv)
    from tfssl.data import tfrecord_write
    from tfssl.errors import TfsslError

    settings = tfrecord_write.Settings(
        options.dataset, options.split, options.shards, options.shorter_side,
        options.quality, options.max_image_pixels,
    )  # fmt: skip
    try:
        source = opened(settings, options.data_dir)
        tfrecord_write.begin(source, settings, options.out)
        numbers = range(settings.shards)
        run(options, [(settings, options.data_dir, options.out, n) for n in numbers])
        done = tfrecord_write.end(source, settings, options.out)
        bad = tfrecord_write.damaged(settings, options.out) if options.verify else []
    except TfsslError as error:
        print(f"make_tfrecords: {error}", file=sys.stderr)
        return 1
    print(
        f"{done['records']} records in {settings.shards} files in {options.out}, "
        f"{len(done['skipped'])} unreadable images left out"
    )
    if bad:
        print(f"damaged: {', '.join(bad)}", file=sys.stderr)
    return 1 if bad else 0


def in_processes(options: argparse.Namespace, jobs: list[tuple]) -> None:
    """Runs the jobs in processes of this machine."""
    if options.processes <= 1:
        for job in jobs:
            write_one(job)
        return
    context = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
    with context.Pool(options.processes) as pool:
        for number, _ in enumerate(pool.imap_unordered(write_one, jobs), 1):
            print(f"\r{number} of {len(jobs)} files", end="", flush=True)
    print()


if __name__ == "__main__":
    sys.exit(make(sys.argv[1:], in_processes))
