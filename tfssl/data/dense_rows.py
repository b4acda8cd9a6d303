"""The two pipelines of dense tasks: views whose boxes or masks move with the pixels.

As `pipeline` has them: `dense_training` without end, a pure function of (seed, step,
row); `dense_inference` once over everything. What an example has beside its image
decides what moves: `source.objects` (boxes), or a `mask` of `Source.example`.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from tfssl.augment import dense
from tfssl.augment.dense import DenseView
from tfssl.core import seeds
from tfssl.data.objects import Padded
from tfssl.data.pipeline import finish, one_by_one, order_of
from tfssl.data.rows import fetch, fetch_or_mask, nothing
from tfssl.data.source import Source

# AutoGraph takes half a minute for what has no Python to rewrite.
_plainly = tf.autograph.experimental.do_not_convert


@dataclasses.dataclass(frozen=True)
class DenseRows:
    """Makes rows: `views` uint8 `[1, H, W, 3]`, `label`, `id`, `index`, `target`.

    `target` holds `boxes` float32 `[M, 4]` in pixels of the canvas and `classes` int64
    `[M]`, -1 where there is no object, M being the most that an image has; or `mask`
    `[H, W, 1]`.

    Attributes:
      source: The data set.
      view: How to scale, crop and flip.
      canvas: H and W.
      seed: The run's seed; with a row's position it decides the view.
    """

    source: Source
    view: DenseView
    canvas: tuple[int, int]
    seed: int

    def maker(self) -> Any:
        """Function of (position, example) int64 scalars to a row."""
        objects = getattr(self.source, "objects", None)
        padded = None if objects is None else Padded(objects)

        @_plainly
        def row(position: tf.Tensor, index: tf.Tensor) -> dict[str, Any]:
            example = fetch(self.source, index)
            image = example["image"]
            shape = tf.shape(image)
            seed = seeds.step_seed(self.seed, "geometry", position)
            cut = dense.draw(self.view, seed, shape[0], shape[1], self.canvas)
            target = {}
            if padded is not None:
                boxes, classes = padded(example["index"])
                moved, kept = dense.moved_boxes(boxes, cut, self.view.visible)
                none = tf.constant(-1, tf.int64)
                target = {"boxes": moved, "classes": tf.where(kept, classes, none)}
            if "mask" in example:
                target["mask"] = dense.moved_mask(example["mask"], cut, self.canvas)
            numbers = {
                name: tf.ensure_shape(tf.cast(example[name], tf.int64), [])
                for name in ("label", "id", "index")
            }
            view = dense.moved_image(image, cut, self.canvas)
            return {"views": view[None], **numbers, "target": target}

        return row


def dense_training(
    source: Source,
    view: DenseView,
    *,
    seed: int,
    start_step: int,
    global_batch: int,
    replica_batch: int,
    canvas: tuple[int, int],
    first_row: int = 0,
    rows: int | None = None,
) -> tf.data.Dataset:
    """Makes endless batches, one per replica, in the order of the ranks.

    Args:
      source: The data set.
      view: How to scale, crop and flip.
      seed: The run's seed.
      start_step: Step of the first batch.
      global_batch: Rows of a step over all replicas of all workers.
      replica_batch: Rows of one batch.
      canvas: Height and width of the views.
      first_row: First row of this worker.
      rows: Rows of this worker; default: all the rest.

    Returns:
      Data set of `DenseRows`' rows, each `[replica_batch, ...]`.

    Raises:
      DataError: Fewer examples than rows in a step, or rows that do not divide.
    """
    order = order_of(source, seed, global_batch, replica_batch, first_row, rows)
    counts = tf.data.Dataset.range(start_step * order.rows, tf.int64.max)
    make = DenseRows(source, view, canvas, seed).maker()
    batches = one_by_one(counts, order, make).batch(replica_batch, drop_remainder=True)
    return finish(batches)


def dense_inference(
    source: Source, *, batch: int, canvas: tuple[int, int]
) -> tf.data.Dataset:
    """Shows every example exactly once, whole, as large as the canvas holds it.

    Args:
      source: The data set.
      batch: Rows of a batch.
      canvas: Height and width.

    Returns:
      Data set of `image` float32 `[batch, H, W, 3]` in [0, 1]; `index` int64 `[batch]`;
      `mask` bool `[batch]`, False for the rows that fill up the last batch and for
      unreadable examples; `source` and `shown` int32 `[batch, 2]`, height and width of
      the image, and on the canvas.
    """

    @_plainly
    def row(index: tf.Tensor) -> dict[str, tf.Tensor]:
        def found() -> tuple[tf.Tensor, tf.Tensor]:
            example, readable = fetch_or_mask(source, index)
            return tf.ensure_shape(example["image"], [None, None, 3]), readable

        image, readable = tf.cond(
            index < source.num_examples,
            found,
            lambda: (nothing()["image"], tf.constant(False)),
        )
        shown, cut = dense.whole_image(image, canvas)
        return {
            "image": shown,
            "index": index,
            "mask": readable,
            "source": cut.source,
            "shown": tf.stack([cut.height, cut.width]),
        }

    counts = tf.data.Dataset.range(-(-source.num_examples // batch) * batch)
    images = counts.map(row, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return finish(images.batch(batch, drop_remainder=True))
