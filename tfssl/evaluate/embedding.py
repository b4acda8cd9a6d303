"""Encodes a data set shard by shard, each example once, in one stream of batches."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
import tensorflow as tf

from tfssl.augment.recipes import EvalTransform
from tfssl.data import Source, inference
from tfssl.data.subset import chosen
from tfssl.embeddings.shard_files import FEATURES, Shard
from tfssl.evaluate.features import check_features

Outputs = Mapping[str, tf.Tensor]


def encoded_shards(
    encode: Callable[[tf.Tensor], Outputs],
    source: Source,
    transform: EvalTransform,
    wanted: Mapping[int, tuple[int, int]],
    *,
    image_size: int,
    batch: int,
    progress: Callable[[int], None] = lambda rows: None,
) -> Iterator[tuple[int, Shard]]:
    """Encodes runs of consecutive examples.

    The batches know nothing of shards, so the encoder never waits for one to end.
    Memory holds one shard and a few batches.

    Args:
      encode: float32 images `[b, S, S, 3]` in [0, 1] to arrays `[b, …]` by name, one
        of them `features`.
      source: All examples.
      transform: Resize and crop.
      wanted: Shard number to its first example and the first one after it.
      image_size: S.
      batch: b.
      progress: Told how many examples are done, after each batch.

    Yields:
      A shard's number and its rows, float32.

    Raises:
      DivergenceError: A feature is NaN or infinite.
    """
    parts = [np.arange(start, stop) for start, stop in wanted.values()]
    if not parts:
        return
    indices = np.concatenate(parts)
    part = source
    if len(indices) < source.num_examples:
        part = chosen(source, indices, "those that are missing")
    batches = inference(
        part, transform, batch=min(batch, len(indices)), image_size=image_size
    )
    rows = _rows(encode, batches, len(indices), progress)
    waiting: list[tuple[np.ndarray, Outputs]] = []
    held = 0
    for number, (start, stop) in wanted.items():
        while held < stop - start:
            waiting.append(next(rows))
            held += len(waiting[-1][0])
        readable = np.concatenate([mask for mask, _ in waiting])
        arrays = {
            name: np.concatenate([out[name] for _, out in waiting])
            for name in waiting[0][1]
        }
        size = stop - start
        yield (
            number,
            _shard(
                source,
                np.arange(start, stop),
                readable[:size],
                {name: array[:size] for name, array in arrays.items()},
            ),
        )
        rest = {name: array[size:] for name, array in arrays.items()}
        waiting = [(readable[size:], rest)] if held > size else []
        held -= size


def _rows(
    encode: Callable[[tf.Tensor], Outputs],
    batches: Iterable[Mapping[str, tf.Tensor]],
    total: int,
    progress: Callable[[int], None],
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Mask and arrays of every batch, without the rows that fill up the last one.

    The next batch is on its way to the device before the last one's values are asked
    for: an accelerator then works while the host copies.
    """
    ahead: tuple[np.ndarray, Outputs] | None = None
    done = 0

    def finished(mask: np.ndarray, out: Outputs) -> tuple[np.ndarray, dict]:
        nonlocal done
        count = min(len(mask), total - done)
        done += count
        arrays = {name: value.numpy()[:count] for name, value in out.items()}
        check_features(arrays[FEATURES], mask[:count])
        progress(done)
        return mask[:count], arrays

    for batch in batches:
        now = batch["mask"].numpy(), encode(batch["image"])
        if ahead is not None:
            yield finished(*ahead)
        ahead = now
    if ahead is not None:
        yield finished(*ahead)


def _shard(
    source: Source,
    indices: np.ndarray,
    readable: np.ndarray,
    arrays: dict[str, np.ndarray],
) -> Shard:
    reasons = {row["path"]: row["reason"] for row in source.skipped()}
    good, bad = indices[readable], indices[~readable]
    return Shard(
        source.ids[good],
        [_key(source, index) for index in good],
        source.labels[good],
        {name: array[readable] for name, array in arrays.items()},
        [
            (_key(source, i), reasons.get(source.where(int(i)), "not readable"))
            for i in bad
        ],
    )


def _key(source: Source, index: int) -> str:
    """Where an example is found: a full path, or what else the source says."""
    where = source.where(int(index))
    return os.path.abspath(where) if os.path.exists(where) else where
