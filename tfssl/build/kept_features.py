"""Features of a data set that are made once and kept on disk, by encoder and data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfssl.build import vectors
from tfssl.build.trained import Trained
from tfssl.config import Config
from tfssl.data import Source
from tfssl.embeddings.shard_files import FEATURES
from tfssl.embeddings.writing import Writer
from tfssl.evaluate import Features
from tfssl.evaluate.embedding import Outputs

SHARD_ROWS = 4_096
"""Images that a killed process may lose."""


class KeptFeatures:
    """The features of one encoder: those of a data set are made once.

    Args:
      config: Of the command: how images are turned, and whether bars count them.
      run: The encoder; its `transform` cuts the images.
      folder: Those of a data set are in a folder in it whose name is a digest of all
        that they depend on.
    """

    def __init__(self, config: Config, run: Trained, folder: Path):
        self._config, self._run, self._folder = config, run, folder
        networks = {FEATURES: run.encoder}
        self._encode = vectors.vectors(networks)
        self._weights = vectors.weights_digest(networks)

    def of(self, source: Source, title: str, *, mirrored: bool = False) -> Writer:
        """Encodes a data set, or goes on where that was stopped.

        Args:
          source: The images, each of which is shown once.
          title: In front of the bar.
          mirrored: Whether they are shown mirrored.

        Returns:
          The finished shards.
        """
        run, encode, weights = self._run, self._encode, self._weights
        if mirrored:
            weights += ", mirrored"

            def encode(images: tf.Tensor) -> Outputs:
                return self._encode(tf.image.flip_left_right(images))

        plan: dict[str, Any] = {
            "format": "npy",
            "dtype": "float32",
            "shard_rows": SHARD_ROWS,
            "orient": self._config.orient,
            **vectors.identity(run, source, weights),
        }
        text = json.dumps(plan, sort_keys=True)
        name = hashlib.sha256(text.encode()).hexdigest()[:16]
        writer = Writer(self._folder / name, plan, {"run": run.path})
        if not writer.finished:
            shown = self._config.progress
            vectors.write(writer, run, source, title, shown=shown, encode=encode)
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
