"""Features of a data set that are made once and kept on disk, by encoder and data."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfssl.build import vectors
from tfssl.build.trained import Trained
from tfssl.data import Source
from tfssl.embeddings.shard_files import FEATURES
from tfssl.embeddings.writing import Writer
from tfssl.evaluate import Features

SHARD_ROWS = 4_096
"""Images that a killed process may lose."""


def kept(
    run: Trained,
    source: Source,
    folder: Path,
    *,
    encode: Callable,
    weights: str,
    orient: str,
    progress: Callable[[int], None] = lambda rows: None,
) -> Writer:
    """Encodes a data set into a folder of its own, or goes on where it was stopped.

    Args:
      run: The encoder; its `transform` cuts the images.
      source: The images, each of which is shown once.
      folder: The features are in a folder in it whose name is a digest of everything
        that they depend on.
      encode: Of `vectors.vectors`.
      weights: Of `vectors.weights_digest`.
      orient: How the images are turned.
      progress: Told how many of the missing images are done.

    Returns:
      The finished shards.
    """
    data = hashlib.sha256(source.ids.tobytes() + source.labels.tobytes())
    plan: dict[str, Any] = {
        "format": "npy",
        "dtype": "float32",
        "shard_rows": SHARD_ROWS,
        "num_examples": source.num_examples,
        "class_names": list(source.class_names),
        "encoder": run.config.encoder,
        "encoder_family": run.config.encoder_family,
        "orient": orient,
        "weights_sha256": weights,
        "image_size": run.image_size,
        "transform": dataclasses.asdict(run.transform),
        "data": source.name,
        "data_sha256": data.hexdigest(),
    }
    name = hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()[:16]
    writer = Writer(folder / name, plan, {"run": run.path})
    wanted = {number: writer.bounds(number) for number in writer.missing()}
    for number, shard in vectors.shards(
        run, source, wanted, encode=encode, progress=progress
    ):
        writer.write(number, shard)
    if not writer.finished:
        writer.finish()
    return writer


def gathered(
    parts: Sequence[tuple[Writer, np.ndarray]], *, unlabelled: bool = False
) -> tuple[Features, int, int]:
    """Reads kept features into memory, once, in the order in which they are used.

    Args:
      parts: Finished shards of one encoder, and the ids of their rows that come last.
      unlabelled: Rows without a label count, too; else they are behind all others.

    Returns:
      The features; how many rows stand before those that come last, and how many
      before those that are left out.
    """
    heads = [[w.read(n, []) for n in w.shards()] for w, _ in parts]
    ids = [np.concatenate([shard.ids for shard in each]) for each in heads]
    labels = np.concatenate([shard.labels for each in heads for shard in each])
    rank = np.concatenate(
        [np.isin(own, last) for own, (_, last) in zip(ids, parts, strict=True)]
    ).astype(np.int64)
    if not unlabelled:
        rank[labels < 0] = 2
    order = np.argsort(rank, kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    width = parts[0][0].widths()[FEATURES]
    features = np.empty((len(order), width), np.float32)
    start = 0
    for writer, _ in parts:
        for number in writer.shards():
            rows = writer.read(number, [FEATURES]).arrays[FEATURES]
            features[place[start : start + len(rows)]] = rows
            start += len(rows)
    found = Features(features, labels[order], np.concatenate(ids)[order])
    return found, int((rank == 0).sum()), int((rank < 2).sum())
