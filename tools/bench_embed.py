"""How fast `--mode=embed` is beside the encoder's bare forward pass, and its memory.

    python tools/bench_embed.py --images=100000 --encoder=resnet18_cifar

Makes a run of one step and a folder of so many JPEG files (links to 1,000 drawn
pictures), then in turn: a part of the files through all of `--mode=embed` (reading,
encoding, writing shards), and the forward pass alone on a batch that lies in memory.
Prints one JSON line: images/s of both (medians of the parts), their ratio, and the peak
memory of the whole command in processes of their own, at each number of `--memory`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import find_tfssl  # noqa: F401

from tfssl.config import startup

startup.prepare_environment()

import tfssl  # noqa: E402

DRAWN = 1000


def tiny_run(folder: Path, options: argparse.Namespace) -> None:
    """A run after one step, of the encoder that is to be measured."""
    tfssl.pretrain(
        run_dir=folder,
        dataset="shapes:64",
        image_size=options.image_size,
        encoder=options.encoder,
        batch_size=16,
        train_steps=1,
        progress=False,
        tensorboard=False,
    )


def pictures(folder: Path, count: int, size: int) -> str:
    """Makes a folder of JPEG files; returns it as a data set."""
    import tensorflow as tf

    from tfssl.data.drawing import draw_image

    for number in range(count):
        place = folder / f"{number // DRAWN:04}"
        place.mkdir(parents=True, exist_ok=True)
        file = place / f"{number % DRAWN:04}.jpg"
        if number < DRAWN:
            drawn = draw_image(number, "train", size)
            file.write_bytes(tf.io.encode_jpeg(drawn).numpy())
        else:
            os.link(folder / "0000" / file.name, file)
    return f"folder:{folder}"


def rates(folder: Path, options: argparse.Namespace) -> tuple[list[float], list[float]]:
    """Images a second of each part: through everything, and of the bare encoder."""
    import numpy as np
    import tensorflow as tf

    from tfssl import build
    from tfssl.build import vectors
    from tfssl.embeddings.writing import Writer

    run = tfssl.load(folder)
    encode = vectors.vectors(vectors.parts(run, ()))
    dataset = pictures(folder.parent / "files", options.images, options.image_size)
    config = dataclasses.replace(run.config, dataset=dataset)
    source = build.source(config, "all", memory=0)
    plan = {
        "format": "npy",
        "dtype": "float32",
        "shard_rows": options.shard_rows,
        "num_examples": source.num_examples,
        "class_names": list(source.class_names),
    }
    writer = Writer(folder / "bench", plan)
    size = (options.batch, options.image_size, options.image_size, 3)
    batch = tf.constant(np.random.default_rng(0).uniform(size=size), tf.float32)
    encode(batch)
    whole, bare = [], []
    for part in np.array_split(np.array(writer.shards()), options.parts):
        wanted = {int(n): writer.bounds(int(n)) for n in part}
        start = time.perf_counter()
        for number, shard in vectors.shards(
            run, source, wanted, encode=encode, batch=options.batch
        ):
            writer.write(number, shard)
        images = sum(stop - first for first, stop in wanted.values())
        whole.append(images / (time.perf_counter() - start))
        calls = max(1, images // 4 // options.batch)
        start = time.perf_counter()
        for _ in range(calls):
            encode(batch)["features"].numpy()
        bare.append(calls * options.batch / (time.perf_counter() - start))
    writer.finish()
    return whole, bare


def peak_megabytes(folder: Path, images: int, size: int) -> float:
    """Peak memory of the command."""
    dataset = pictures(folder.parent / f"files-{images}", images, size)
    program = (
        "import resource, sys; from tfssl.main import main; code = main(sys.argv); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss); sys.exit(code)"
    )
    flags = ["--mode=embed", f"--init_from={folder}", f"--run_dir={folder}-{images}"]
    flags += [f"--dataset={dataset}", "--embed_split=all", "--noprogress"]
    done = subprocess.run(
        [sys.executable, "-c", program, *flags],
        check=True, stdout=subprocess.PIPE, text=True, env=os.environ,
    )  # fmt: skip
    return int(done.stdout.split()[-1]) / 1024


def main() -> None:
    """Prints one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--encoder", default="resnet18_cifar")
    parser.add_argument("--image_size", type=int, default=32)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--parts", type=int, default=4)
    parser.add_argument("--shard_rows", type=int, default=4096)
    parser.add_argument("--memory", default="", help="numbers of images, with commas")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "run"
        tiny_run(folder, options)
        found: dict[str, object] = {"encoder": options.encoder}
        if options.images:
            whole, bare = rates(folder, options)
            found |= {
                "images": options.images,
                "embed_per_second": round(statistics.median(whole), 1),
                "bare_per_second": round(statistics.median(bare), 1),
                "ratio": round(statistics.median(whole) / statistics.median(bare), 3),
                "ratios": [round(a / b, 3) for a, b in zip(whole, bare, strict=True)],
            }
        for images in filter(None, options.memory.split(",")):
            found[f"peak_mb_{images}"] = round(
                peak_megabytes(folder, int(images), options.image_size)
            )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
