"""Crop, resize and flip of a batch of small images of one size, as matrix products.

A view is two products with matrices of `interpolation`. There are few crops of few
pixels, so the matrices of all of them, flipped and not, are made once and looked up.
For photographs the products would cost more than `crops`' kernels.
"""

from __future__ import annotations

import functools

import numpy as np
import tensorflow as tf

from tfssl.augment import boxes, draws, interpolation
from tfssl.augment.recipe_types import Recipe, ViewRecipe

LARGEST = 32  # side; the table of matrices grows with its fourth power


def sample(
    recipe: Recipe, seed: tf.Tensor, batch: int, height: int, width: int
) -> dict[str, tf.Tensor]:
    """Draws crops and flips for all views of the global batch.

    Args:
      recipe: One view per entry of `recipe.views`; one crop with `shared_crop`.
      seed: int64 `[2]`; the same seed gives the same table on any number of replicas.
      batch: Global batch size, a Python integer.
      height: Of all images.
      width: Of all images.

    Returns:
      Tensors `[V, batch]`: `y`, `x`, `h`, `w` int32, a box inside the image; `flip`
      bool.
    """
    tables = []
    for number, view in enumerate(recipe.views):
        number = 0 if recipe.shared_crop else number
        own = seed + tf.constant([(2 * number + 1) << 32, 0], tf.int64)
        box = boxes.sample_batch(view, own, batch, height, width)
        own += tf.constant([1 << 32, 0], tf.int64)
        tables.append((*box, draws.uniform([batch], own) < view.flip))
    names = ("y", "x", "h", "w", "flip")
    columns = zip(*tables, strict=True)
    return {n: tf.stack(c) for n, c in zip(names, columns, strict=True)}


def views(
    images: tf.Tensor, table: dict[str, tf.Tensor], recipe: Recipe, size: int
) -> tf.Tensor:
    """All views of a batch.

    Args:
      images: uint8 `[b, H, W, 3]`, H and W static.
      table: These images' columns of a `sample` table, tensors `[V, b]`.
      recipe: That of the table.
      size: Side S of the views.

    Returns:
      uint8 `[b, V, S, S, 3]`.
    """
    # [b, H, 3, W]: both products are then one matrix times one matrix an image.
    lines = tf.transpose(tf.cast(images, tf.float32), [0, 1, 3, 2])
    cut = [
        _cut(lines, {name: v[number] for name, v in table.items()}, view, size)
        for number, view in enumerate(recipe.views)
    ]
    return tf.stack(cut, axis=1)


def _cut(
    lines: tf.Tensor, params: dict[str, tf.Tensor], view: ViewRecipe, size: int
) -> tf.Tensor:
    """One view of `[b, H, 3, W]`, uint8 `[b, S, S, 3]`, as `crops` would cut it.

    Where the exact value lies halfway between two bytes, rounding may pick the other
    one than `crops` does.
    """
    height, width = lines.shape[1], lines.shape[3]
    number = _number(params["x"], params["w"], width)
    number += tf.cast(params["flip"], tf.int32) * (width * (width + 1) // 2)
    columns = tf.gather(_matrices(view.resize, width, size), number)
    number = _number(params["y"], params["h"], height)
    rows = tf.gather(_matrices(view.resize, height, size), number)
    out = rows @ tf.reshape(lines, [-1, height, 3 * width])
    out = tf.reshape(out, [-1, size * 3, width])
    out = tf.matmul(out, columns, transpose_b=True)
    out = tf.cast(tf.clip_by_value(tf.round(out), 0.0, 255.0), tf.uint8)
    return tf.transpose(tf.reshape(out, [-1, size, 3, size]), [0, 1, 3, 2])


def _number(begin: tf.Tensor, count: tf.Tensor, side: int) -> tf.Tensor:
    """Where the crop of so many pixels from this one on is in `_matrices`."""
    return (count - 1) * (2 * side + 2 - count) // 2 + begin


@functools.cache
def _matrices(resize: str, side: int, size: int) -> np.ndarray:
    """float32 `[side * (side + 1), size, side]`: every crop, then every one flipped."""
    counts = np.concatenate([np.full(side + 1 - n, n) for n in range(1, side + 1)])
    begins = np.concatenate([np.arange(side + 1 - n) for n in range(1, side + 1)])
    bicubic, antialiased = interpolation.bicubic, interpolation.antialiased
    weights = bicubic if resize == "bicubic" else antialiased
    with tf.init_scope():
        begin, count = (tf.constant(x, tf.int32) for x in (begins, counts))
        straight = weights(begin, count, side, size).numpy()
    return np.concatenate([straight, straight[:, ::-1]])
