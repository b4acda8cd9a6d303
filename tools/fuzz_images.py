"""Feeds damaged image files to training, evaluation and the exported model.

    python tools/fuzz_images.py --files=10000 --seed=0

Real files of every format and feature (`tests/gallery.py`) are mutated by a seeded
generator: bytes flipped, cut out, repeated, numbers of headers replaced by extremes,
two files spliced. A child process decodes each as a training pipeline does, cuts views
and evaluation's window out of it, and serves it. Nothing may end the child, none may
take longer than `--seconds_a_file`, and its memory stays bounded. Prints one JSON line;
the exit code is 0 if all held.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

import find_tfssl  # noqa: F401

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

MAX_PIXELS = 1_000_000
_SIZE = 32
_BATCH = 50
_EXTREMES = (0, 1, 2, 127, 128, 254, 255)


def mutated(count: int, seed: int) -> Iterator[bytes]:
    """Yields damaged files, a pure function of the seed."""
    import numpy as np

    from tests.gallery import gallery

    originals = [case.data for case in gallery().values() if case.data]
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        data = bytearray(originals[rng.integers(len(originals))])
        for _ in range(rng.integers(1, 6)):
            data = _mutation(data, originals, rng)
        yield bytes(data)


def _mutation(data: bytearray, originals: list[bytes], rng) -> bytearray:
    if not data:
        return data
    kind = rng.integers(7)
    # Half of all damage goes where headers are.
    end = min(len(data), 64) if rng.integers(2) else len(data)
    at = int(rng.integers(end))
    some = int(rng.integers(1, 1 + min(64, len(data) - at)))
    if kind == 0:
        data[at] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        data[at] = _EXTREMES[rng.integers(len(_EXTREMES))]
    elif kind == 2:
        value = (0, 1, 2**31 - 1, 2**32 - 1, 65535, 4096)[rng.integers(6)]
        order = ("little", "big")[rng.integers(2)]
        data[at : at + 4] = value.to_bytes(4, order)[: len(data) - at]
    elif kind == 3:
        del data[at : at + some]
    elif kind == 4:
        data[at:at] = data[at : at + some] * int(rng.integers(1, 9))
    elif kind == 5:
        data[at : at + some] = rng.bytes(some)
    else:
        other = originals[rng.integers(len(originals))]
        data = data[:at] + bytearray(other[int(rng.integers(len(other))) :])
    return data


def child(count: int, seed: int) -> None:
    """Decodes every file in all three ways; a line a batch tells how far it is."""
    import tensorflow as tf

    from tfssl.augment import crops, geometry
    from tfssl.augment.recipes import EVAL_TRANSFORMS, RECIPES
    from tfssl.data.decode import decode, reason
    from tfssl.exporters import About, Inference, export_saved_model
    from tfssl.models import Encoder

    @tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
    def trained(data):
        image = decode(data, MAX_PIXELS, orient="exif")
        seed = tf.constant([1, 2], tf.int64)
        views = crops.views(image, RECIPES["moco_v2"], seed, _SIZE)
        seen = geometry.eval_image(image, EVAL_TRANSFORMS["moco"], _SIZE)
        return tf.reduce_sum(tf.cast(views, tf.int32)), tf.reduce_sum(seen)

    with tempfile.TemporaryDirectory() as folder:
        encoder = Encoder("resnet10x0.125_cifar", family="moco", image_size=_SIZE)
        how = {"max_pixels": MAX_PIXELS, "on_error": "zeros"}
        given = Inference(encoder, EVAL_TRANSFORMS["moco"], _SIZE, **how)
        path = export_saved_model(given, f"{folder}/model", About({}, {}, None))
        served = tf.saved_model.load(path).signatures["serving_default"]
    served(image_bytes=tf.constant([b""]))
    begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refusals: collections.Counter = collections.Counter()
    decoded = valid = 0
    batch: list[bytes] = []
    for done, data in enumerate(mutated(count, seed), 1):
        try:
            trained(data)
            decoded += 1
        except (tf.errors.OpError, ValueError):
            text = reason(data, MAX_PIXELS) or "decodable, but not turned or cut"
            refusals[re.sub(r"\d+", "N", text)[:80]] += 1
        batch.append(data)
        if len(batch) == _BATCH or done == count:
            valid += int(served(image_bytes=tf.constant(batch))["valid"].numpy().sum())
            batch = []
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - begun
            state = {
                "files": done,
                "decoded": decoded,
                "served": valid,
                "megabytes_above_start": peak // 1024,
                "refusals": dict(refusals.most_common()),
            }
            print(json.dumps(state), flush=True)


def main(argv: list[str]) -> int:
    """Runs the child and watches it; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds_a_file", type=float, default=10)
    parser.add_argument("--megabytes", type=int, default=400, help="above the start")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.child:
        child(options.files, options.seed)
        return 0
    begun, state = time.monotonic(), {"files": 0}
    command = [sys.executable, __file__, "--child", f"--files={options.files}"]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [*command, f"--seed={options.seed}"], stdout=subprocess.PIPE, stderr=errors
        )
        limit = 120 + options.files * options.seconds_a_file
        try:
            output, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
        lines = output.decode().splitlines()
        state = json.loads(lines[-1]) if lines else state
        errors.seek(0)
        last = errors.read()[-2000:].decode("utf-8", "replace")
    whole = state["files"] == options.files and process.returncode == 0
    bounded = state.get("megabytes_above_start", 0) <= options.megabytes
    state |= {"seconds": round(time.monotonic() - begun), "exit": process.returncode}
    print(json.dumps(state))
    if not whole:
        print(last, file=sys.stderr)
    return 0 if whole and bounded else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
