"""The two pipelines: `training` without end, `inference` once over everything.

`training` has no shuffle buffer and no state: which example stands in which row of
which step, and how it is cropped, are pure functions of (seed, step, row). A run
resumes exactly, and any number of replicas or workers sees the one-replica stream.

A tf.data service lets other hosts decode and crop for one too weak to feed its devices.
Its workers (`tools/data_service.py`) take whole steps from the dispatcher as they get
free. A batch holds exactly the rows and views that it holds without the service, and
no step is made twice; but steps arrive in the order in which workers finish them, and
those in flight are lost when the run or a worker stops. So a resumed run is not bit for
bit the one that was never stopped. Unreadable files are passed over and not listed,
because the list lives in the training process.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from tfssl.augment import crops, geometry, matrix_views
from tfssl.augment.recipes import EvalTransform, Recipe
from tfssl.core import runtime, seeds
from tfssl.data.memory import Decoded
from tfssl.data.order import Order
from tfssl.data.rows import (
    Make,
    Row,
    ViewRows,
    batch_rows,
    fetch_or_mask,
    jpeg_kind,
    may_fail,
    nothing,
    rows_at_once,
    whole_example,
)
from tfssl.data.source import Source
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
    cutter: crops.Cutter = crops.TENSORFLOW,
    local: bool = True,
) -> tf.data.Dataset:
    """Makes endless batches of views, one per replica, in the order of the ranks.

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
      service: `grpc://host:port` of the dispatcher of a tf.data service that makes the
        batches; it reads nothing through Python. Empty: this host makes them.
      cutter: Who cuts the views. `crops.ON_DEVICE` wants a source that `is_small`.
      local: False where the data set runs in another process, as of a remote TPU.

    Returns:
      Data set of `views` uint8 `[replica_batch, V, S, S, 3]` (not with
      `crops.ON_DEVICE`), `label`, `id` and `index` int64 `[replica_batch]`, the last
      being `Source.example`'s; `rows / replica_batch` elements a step.

    Raises:
      DataError: Fewer examples than rows in a step, rows that do not divide, or images
        that do not fit on the device that shall cut them.
    """
    order = order_of(
        source, seed, global_batch, replica_batch, first_row, rows, micro_batches
    )
    if service:
        counts = _rows_by_step(start_step, order.rows)
    else:
        counts = tf.data.Dataset.range(start_step * order.rows, tf.int64.max)
    if is_small(source, image_size):
        small = SmallRows(source, recipe, seed, image_size, global_batch)
        make = small.numbers if cutter.field == "index" else small.views
        batches = _at_once(counts, order, make, replica_batch)
    elif cutter.field == "index":
        raise DataError(
            message(
                f"{source.name}, whose images are not cut on the device",
                f"images of one size up to {matrix_views.LARGEST} pixels, in memory",
                "another cutter, see tfssl.augment.crops.host_cutter",
            )
        )
    else:
        single = ViewRows(
            source,
            recipe,
            seed,
            image_size,
            report=local and not service,
            cutter=cutter,
        )
        if may_fail(source):
            size = rows_at_once(replica_batch)
            parts = _at_once(counts, order, single.rows, size)
            batches = parts.batch(replica_batch // size, drop_remainder=True)
            batches = batches.map(_joined)
        else:
            batches = one_by_one(counts, order, single.row).batch(
                replica_batch, drop_remainder=True
            )
    if service:
        sharding = tf.data.experimental.service.ShardingPolicy.DYNAMIC
        batches = batches.apply(
            tf.data.experimental.service.distribute(sharding, service=service)
        )
    return finish(batches)


def _rows_by_step(start_step: int, rows: int) -> tf.data.Dataset:
    """Numbers all rows; a service deals them out by the step."""
    steps = tf.data.Dataset.range(start_step, tf.int64.max // rows)
    return steps.flat_map(
        lambda step: tf.data.Dataset.range(step * rows, (step + 1) * rows)
    )


def _at_once(
    counts: tf.data.Dataset, order: Order, make: Make, size: int
) -> tf.data.Dataset:
    def rows(count: tf.Tensor) -> Row:
        position = order.position(count)
        return make(position, order.indices(position))

    return counts.batch(size, drop_remainder=True).map(rows, **_IN_ORDER)


def one_by_one(counts: tf.data.Dataset, order: Order, make: Make) -> tf.data.Dataset:
    """Maps this worker's numbers of rows to the rows that stand there."""

    def row(count: tf.Tensor) -> Row:
        position = order.position(count)
        return make(position, order.index(position))

    return counts.map(row, **_IN_ORDER)


def _joined(parts: Row) -> Row:
    """Reshapes tensors `[m, n, ...]` to `[m * n, ...]`."""
    return {
        name: tf.reshape(value, [value.shape[0] * value.shape[1], *value.shape[2:]])
        for name, value in parts.items()
    }


def is_small(source: Source, image_size: int) -> bool:
    """Returns whether views are cut a batch at a time: small, one size, in memory."""
    shape = source.shape if isinstance(source, Decoded) else None
    return shape is not None and max(*shape[:2], image_size) <= matrix_views.LARGEST


@dataclasses.dataclass(frozen=True)
class SmallRows:
    """Makes batches of small images in memory: looks them up, cuts them at once.

    Attributes:
      source: The data set, `is_small`.
      recipe: How to crop and flip.
      seed: The run's seed.
      image_size: Side S.
      global_batch: Rows of a step over all replicas of all workers.
    """

    source: Decoded
    recipe: Recipe
    seed: int
    image_size: int
    global_batch: int

    def views(self, position: tf.Tensor, index: tf.Tensor) -> Row:
        """Makes the rows at positions `[b]` of one step, as `ViewRows` does."""
        step = position[0] // self.global_batch
        table = matrix_views.sample(
            self.recipe,
            seeds.step_seed(self.seed, "geometry", step),
            self.global_batch,
            *self.source.shape[:2],
        )
        own = position - step * self.global_batch
        table = {name: tf.gather(v, own, axis=1) for name, v in table.items()}
        example = self.source.examples(index)
        image = example.pop("image")
        views = matrix_views.views(image, table, self.recipe, self.image_size)
        return {"views": views, **_numbers(example, index)}

    def numbers(self, position: tf.Tensor, index: tf.Tensor) -> Row:
        """Makes the same rows without views, for a device that has the images."""
        del position
        return _numbers(self.source.numbers(index), index)


def _numbers(example: Row, index: tf.Tensor) -> Row:
    return {
        name: tf.ensure_shape(value, index.shape)
        for name, value in {**example, "index": index}.items()
    }


def inference(
    source: Source,
    transform: EvalTransform,
    *,
    batch: int,
    image_size: int,
) -> tf.data.Dataset:
    """Shows every example exactly once, in order, in full batches.

    Args:
      source: The data set.
      transform: How to crop and resize.
      batch: Rows of a batch, >= 1.
      image_size: Side S.

    Returns:
      Data set of `image` float32 `[batch, S, S, 3]` in [0, 1], not normalised, `label`
      and `id` int64 `[batch]`, `mask` bool `[batch]`: False for the rows that fill up
      the last batch and for unreadable examples (black image, label and id -1).
    """
    total = source.num_examples
    shape = [image_size, image_size, 3]
    kind = jpeg_kind(source)

    def careful(position: tf.Tensor, index: tf.Tensor) -> Row:
        del position
        return shown(index, lambda: fetch_or_mask(source, index))

    def quick(position: tf.Tensor, index: tf.Tensor) -> Row:
        del position
        return shown(
            index, lambda: (whole_example(source, index, kind), tf.constant(True))
        )

    def shown(index: tf.Tensor, read: Callable[[], tuple[Row, tf.Tensor]]) -> Row:
        example, readable = tf.cond(
            index < total,
            lambda: _checked(*read()),
            lambda: (nothing(), tf.constant(False)),
        )
        image = tf.cond(
            readable,
            lambda: geometry.eval_image(example["image"], transform, image_size),
            lambda: tf.zeros(shape),
        )
        return {
            "image": tf.ensure_shape(image, shape),
            "label": example["label"],
            "id": example["id"],
            "mask": readable,
        }

    counts = tf.data.Dataset.range(-(-total // batch) * batch)
    if not may_fail(source):
        rows = counts.map(lambda index: careful(index, index), **_IN_ORDER)
        return finish(rows.batch(batch, drop_remainder=True))
    size = rows_at_once(batch)
    parts = counts.batch(size, drop_remainder=True).map(
        lambda index: batch_rows(index, index, quick, careful), **_IN_ORDER
    )
    return finish(parts.batch(batch // size, drop_remainder=True).map(_joined))


def _checked(
    example: dict[str, tf.Tensor], readable: tf.Tensor
) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    return {
        "image": example["image"],
        "label": tf.ensure_shape(example["label"], []),
        "id": tf.ensure_shape(example["id"], []),
    }, readable


def finish(batches: tf.data.Dataset) -> tf.data.Dataset:
    """Prefetches; every pipeline ends so."""
    batches = runtime.on_all_cores(batches)
    options = tf.data.Options()
    # Rows are already dealt out; TensorFlow must not deal them out a second time.
    options.experimental_distribute.auto_shard_policy = (
        tf.data.experimental.AutoShardPolicy.OFF
    )
    return batches.prefetch(tf.data.AUTOTUNE).with_options(options)


def order_of(
    source: Source,
    seed: int,
    global_batch: int,
    replica_batch: int,
    first_row: int,
    rows: int | None,
    micro_batches: int = 1,
) -> Order:
    """Returns the order of a worker's rows; refuses rows that do not make up a batch.

    Args:
      source: The data set.
      seed: Of `Order`, as all arguments of the same names.
      global_batch: Rows of a step over all replicas of all workers.
      replica_batch: Rows of one batch.
      first_row: First row of this worker.
      rows: Rows of this worker; None: all the rest.
      micro_batches: M, divides `replica_batch`.

    Raises:
      DataError: See `training`.
    """
    rows = global_batch - first_row if rows is None else rows
    if source.num_examples < global_batch:
        raise DataError(
            message(
                f"{source.num_examples} examples in {source.name}",
                f"at least one global batch of {global_batch}",
                f"a smaller batch_size, at most {source.num_examples}",
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
                "a batch_size that replicas times micro batches divides",
            )
        )
    if rows % replica_batch:
        raise DataError(
            message(
                f"{rows} rows in batches of {replica_batch}",
                "a multiple of the rows of one replica",
                "a batch_size that the number of replicas divides",
            )
        )
    return Order(
        seed=seed,
        total=source.num_examples,
        global_batch=global_batch,
        replica_batch=replica_batch,
        first_row=first_row,
        rows=rows,
        micro_batches=micro_batches,
    )
