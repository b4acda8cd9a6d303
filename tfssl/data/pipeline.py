"""The two pipelines: `training` without end, `inference` once over everything.

`training` has no shuffle buffer and no state: which example stands in which row of
which step, and how it is cropped, are pure functions of (seed, step, row). A run
resumes exactly, and any number of replicas or workers sees the one-replica stream.
"""

from __future__ import annotations

import tensorflow as tf

from tfssl.augment import geometry, native
from tfssl.augment.recipes import EvalTransform, Recipe
from tfssl.data import handful
from tfssl.data.fetch import fetch_or_mask, may_fail, nothing
from tfssl.data.handful import Make, Row
from tfssl.data.order import Order
from tfssl.data.service import made_by, rows_by_step
from tfssl.data.small_rows import SmallRows, is_small
from tfssl.data.source import Source
from tfssl.data.view_rows import ViewRows
from tfssl.errors import DataError, message

_IN_ORDER = {"num_parallel_calls": tf.data.AUTOTUNE, "deterministic": True}


def training(
    source: Source,
    recipe: Recipe,
    *,
    seed: int,
    start_step: int,
    global_batch: int,
    replica_batch: int,
    image_size: int,
    first_row: int = 0,
    rows: int | None = None,
    micro_batches: int = 1,
    service: str = "",
    cut: bool = True,
    local: bool = True,
) -> tf.data.Dataset:
    """Endless batches of views, one per replica, in the order of the ranks.

    Which example stands where is `Order`'s: an epoch is a permutation of all examples,
    and a batch may hold the end of one and the beginning of the next.

    Small images in memory are cut a batch at a time (`augment.matrix_views`), others
    one by one (`augment.crops`): the same laws, but other draws.

    With M micro batches, one of all replicas together is the M-th part of the global
    batch, whatever their number.

    Args:
      source: The data set, n examples.
      recipe: Its `views` say how to crop and flip.
      seed: The run's seed.
      start_step: Step of the first batch.
      global_batch: Rows of a step over all replicas of all workers.
      replica_batch: Rows of one batch.
      image_size: Side S of the views.
      first_row: First row of this worker.
      rows: Rows of this worker, a multiple of `replica_batch`; default: all the rest.
      micro_batches: M, divides `replica_batch`.
      cut: False leaves crop, resize and flip to the device (`train.device_views`),
        for a source that `is_small`: `views` then is `index`.
      service: Address of a tf.data service that makes the batches, see
        `tfssl.data.service`; empty: this host makes them.
      local: False where the data set runs in another process, as of a remote TPU.

    Returns:
      Data set of `views` uint8 `[replica_batch, V, S, S, 3]`, `label`, `id` and `index`
      int64 `[replica_batch]`, the last being `Source.example`'s; `rows / replica_batch`
      elements a step.

    Raises:
      DataError: Fewer examples than rows in a step, or rows that do not divide.
    """
    rows = global_batch - first_row if rows is None else rows
    _check(source, global_batch, replica_batch, first_row, rows, micro_batches)
    order = Order(
        seed=seed,
        total=source.num_examples,
        global_batch=global_batch,
        replica_batch=replica_batch,
        first_row=first_row,
        rows=rows,
        micro_batches=micro_batches,
    )
    if service:
        counts = rows_by_step(start_step, rows)
    else:
        counts = tf.data.Dataset.range(start_step * rows, tf.int64.max)
    if is_small(source, image_size):
        small = SmallRows(source, recipe, seed, image_size, global_batch)
        make = small.cut if cut else small.picked
        batches = _at_once(counts, order, make, replica_batch)
    else:
        here = local and not service
        how = {"report": here, "machine_code": here and native.available()}
        single = ViewRows(source, recipe, seed, image_size, **how)
        if may_fail(source):
            size = handful.size_for(replica_batch)
            handfuls = _at_once(counts, order, single.some, size)
            batches = handfuls.batch(replica_batch // size, drop_remainder=True)
            batches = batches.map(_joined)
        else:
            batches = _one_by_one(counts, order, single.one).batch(
                replica_batch, drop_remainder=True
            )
    return _finish(made_by(service, batches) if service else batches)


def _at_once(
    counts: tf.data.Dataset, order: Order, make: Make, size: int
) -> tf.data.Dataset:
    def rows(count: tf.Tensor) -> Row:
        position = order.position(count)
        return make(position, order.indices(position))

    return counts.batch(size, drop_remainder=True).map(rows, **_IN_ORDER)


def _one_by_one(counts: tf.data.Dataset, order: Order, make: Make) -> tf.data.Dataset:
    def row(count: tf.Tensor) -> Row:
        position = order.position(count)
        return make(position, order.index(position))

    return counts.map(row, **_IN_ORDER)


def _joined(handfuls: Row) -> Row:
    """Tensors `[m, n, ...]` as `[m * n, ...]`."""
    return {
        name: tf.reshape(value, [value.shape[0] * value.shape[1], *value.shape[2:]])
        for name, value in handfuls.items()
    }


def inference(
    source: Source,
    transform: EvalTransform,
    *,
    batch: int,
    image_size: int,
    limit: int | None = None,
) -> tf.data.Dataset:
    """Every example exactly once, in order, in full batches.

    Args:
      source: The data set.
      transform: How to crop and resize.
      batch: Rows of a batch, >= 1.
      image_size: Side S.
      limit: Only the first so many examples.

    Returns:
      Data set of `image` float32 `[batch, S, S, 3]` in [0, 1], not normalised, `label`
      and `id` int64 `[batch]`, `mask` bool `[batch]`: False for the rows that fill up
      the last batch and for unreadable examples (black image, label and id -1).
    """
    total = min(source.num_examples, limit or source.num_examples)

    def row(index: tf.Tensor) -> dict[str, tf.Tensor]:
        example, readable = tf.cond(
            index < total,
            lambda: _checked(*fetch_or_mask(source, index)),
            lambda: (nothing(), tf.constant(False)),
        )
        image = tf.cond(
            readable,
            lambda: geometry.eval_image(example["image"], transform, image_size),
            lambda: tf.zeros([image_size, image_size, 3]),
        )
        return {
            "image": tf.ensure_shape(image, [image_size, image_size, 3]),
            "label": example["label"],
            "id": example["id"],
            "mask": readable,
        }

    counts = tf.data.Dataset.range(-(-total // batch) * batch)
    images = counts.map(row, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return _finish(images.batch(batch, drop_remainder=True))


def _checked(
    example: dict[str, tf.Tensor], readable: tf.Tensor
) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    return {
        "image": example["image"],
        "label": tf.ensure_shape(example["label"], []),
        "id": tf.ensure_shape(example["id"], []),
    }, readable


def _finish(batches: tf.data.Dataset) -> tf.data.Dataset:
    options = tf.data.Options()
    # Rows are already dealt out; TensorFlow must not deal them out a second time.
    options.experimental_distribute.auto_shard_policy = (
        tf.data.experimental.AutoShardPolicy.OFF
    )
    return batches.prefetch(tf.data.AUTOTUNE).with_options(options)


def _check(
    source: Source,
    global_batch: int,
    replica_batch: int,
    first_row: int,
    rows: int,
    micro_batches: int,
) -> None:
    if source.num_examples < global_batch:
        raise DataError(
            message(
                f"{source.num_examples} examples in {source.name}",
                f"at least one global batch of {global_batch}",
                f"a smaller --batch_size, at most {source.num_examples}",
            )
        )
    if first_row < 0 or rows < 1 or first_row + rows > global_batch:
        raise DataError(
            message(
                f"rows {first_row} to {first_row + rows}",
                f"rows within the global batch of {global_batch}",
                "first_row + rows <= global_batch",
            )
        )
    if replica_batch % micro_batches:
        raise DataError(
            message(
                f"{micro_batches} micro batches of {replica_batch} rows a replica",
                "a number that divides the rows of one replica",
                "a --batch_size that replicas times micro batches divides",
            )
        )
    if rows % replica_batch:
        raise DataError(
            message(
                f"{rows} rows in batches of {replica_batch}",
                "a multiple of the rows of one replica",
                "a --batch_size that the number of replicas divides",
            )
        )
