"""Crops, resizes and flips a batch of small images of one size, as matrix products.

A view is `K_y X K_x^T` for every channel, `K` holding crop and resize together, equal
to the host's kernels. Shapes are static and every operation compiles under XLA, for
any device. There are few crops of few pixels, so the matrices of all of them, flipped
and not, are made once and looked up. For photographs the products would cost more than
`crops`' kernels.
"""

from __future__ import annotations

import functools

import numpy as np
import tensorflow as tf

from tfssl.augment import boxes
from tfssl.augment.recipe_types import Recipe, ViewRecipe

LARGEST = 32  # side; the table of matrices grows with its fourth power
_STEPS = 1024  # in which TensorFlow's bicubic kernel tabulates a pixel


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
        tables.append((*box, boxes.uniform([batch], own) < view.flip))
    names = ("y", "x", "h", "w", "flip")
    columns = zip(*tables, strict=True)
    return {n: tf.stack(c) for n, c in zip(names, columns, strict=True)}


def views(
    images: tf.Tensor, table: dict[str, tf.Tensor], recipe: Recipe, size: int
) -> tf.Tensor:
    """Cuts all views of a batch.

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
    """Cuts one view of `[b, H, 3, W]`, uint8 `[b, S, S, 3]`, as `crops` would.

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
    """Returns which of `_matrices` cuts so many pixels from this one on."""
    return (count - 1) * (2 * side + 2 - count) // 2 + begin


@functools.cache
def _matrices(resize: str, side: int, size: int) -> np.ndarray:
    """float32 `[side * (side + 1), size, side]`: every crop, then every one flipped."""
    counts = np.concatenate([np.full(side + 1 - n, n) for n in range(1, side + 1)])
    begins = np.concatenate([np.arange(side + 1 - n) for n in range(1, side + 1)])
    weights = bicubic if resize == "bicubic" else antialiased
    with tf.init_scope():
        begin, count = (tf.constant(x, tf.int32) for x in (begins, counts))
        straight = weights(begin, count, side, size).numpy()
    return np.concatenate([straight, straight[:, ::-1]])


def bicubic(begin: tf.Tensor, count: tf.Tensor, side: int, size: int) -> tf.Tensor:
    """Makes matrices of Keys' cubic, a = -1/2, weights of the pixels there are.

    TensorFlow's `ResizeBicubic` takes the distance in steps of 1/1024, and so does
    this.

    Args:
      begin: int32 `[b]`, first pixel of the crop.
      count: int32 `[b]`, pixels of the crop, >= 1.
      side: Pixels of the image.
      size: Pixels of the view.

    Returns:
      float32 `[b, size, side]`, rows sum to 1, zeros outside of the crop.
    """
    place = _place(count, size)
    below = tf.floor(place)
    part = tf.round((place - below) * _STEPS) * (1.0 / _STEPS)
    pixel, inside = _pixels(begin, count, side)
    distance = tf.abs(pixel[:, None] - below[..., None] - part[..., None])
    near = (1.5 * distance - 2.5) * distance * distance + 1.0
    far = ((-0.5 * distance + 2.5) * distance - 4.0) * distance + 2.0
    kernel = tf.where(distance <= 1.0, near, tf.where(distance < 2.0, far, 0.0))
    return _normalised(kernel * inside)


def antialiased(begin: tf.Tensor, count: tf.Tensor, side: int, size: int) -> tf.Tensor:
    """Makes matrices of a triangle as wide as two pixels of the larger grid (PIL).

    Arguments and result as in `bicubic`.
    """
    place = _place(count, size)
    pixel, inside = _pixels(begin, count, side)
    distance = tf.abs(pixel[:, None] - place[..., None])
    reach = tf.cast(tf.maximum(count, size), tf.float32) / float(size)
    kernel = tf.maximum(1.0 - distance / reach[:, None, None], 0.0)
    return _normalised(kernel * inside)


def _place(count: tf.Tensor, size: int) -> tf.Tensor:
    """float32 `[b, size]`: where each pixel of the view lies in the crop."""
    scale = tf.cast(count, tf.float32) / float(size)
    return (tf.range(size, dtype=tf.float32) + 0.5) * scale[:, None] - 0.5


def _pixels(
    begin: tf.Tensor, count: tf.Tensor, side: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Numbers pixels from the crop's first, and returns 1.0 for those in it."""
    pixel = tf.range(side) - begin[:, None]
    inside = tf.cast((pixel >= 0) & (pixel < count[:, None]), tf.float32)
    return tf.cast(pixel, tf.float32), inside[:, None]


def _normalised(kernel: tf.Tensor) -> tf.Tensor:
    return kernel / tf.reduce_sum(kernel, axis=-1, keepdims=True)
