"""Crop, resize and flip of images that are square already, batched, without a branch.

SimCLR's ablation crops an image that was cropped before, on one branch only and maybe
after another operator, so it cannot be left to `crops` on the host. Crop and resize
are two products with small matrices, which XLA compiles for every device.
"""

from __future__ import annotations

import tensorflow as tf

from tfssl.augment import interpolation
from tfssl.augment.color import Planes, per_image
from tfssl.augment.recipe_types import ViewRecipe

_ATTEMPTS = 8  # all are too small once in 1e10 images
DRAWS = 2 * _ATTEMPTS + 2
_MIN_COVERED = 0.1


def sample_box(view: ViewRecipe, uniform: tf.Tensor) -> tf.Tensor:
    """Boxes by the law of SimCLR's sampler (`boxes.sample_crop`), in shares.

    Aspect uniform; height uniform between what the areas imply; boxes under 10 % of
    the image rejected; the whole image when all attempts were.

    Args:
      view: Holds `area` and `aspect`.
      uniform: float32 `[b, DRAWS]` in [0, 1).

    Returns:
      float32 `[b, 4]`: top, left, height, width as shares of the side.
    """
    low, high = view.aspect
    height = width = tf.ones_like(uniform[:, 0])
    for attempt in reversed(range(_ATTEMPTS)):
        aspect = low + (high - low) * uniform[:, 2 * attempt]
        shortest = tf.sqrt(view.area[0] / aspect)
        tallest = tf.minimum(tf.sqrt(view.area[1] / aspect), 1.0 / aspect)
        tallest = tf.maximum(tf.minimum(tallest, 1.0), shortest)
        h = shortest + (tallest - shortest) * uniform[:, 2 * attempt + 1]
        w = h * aspect
        fits = (h <= 1.0) & (w <= 1.0) & (h * w >= _MIN_COVERED)
        height, width = tf.where(fits, h, height), tf.where(fits, w, width)
    top, left = uniform[:, -2] * (1.0 - height), uniform[:, -1] * (1.0 - width)
    return tf.stack([top, left, height, width], -1)


def box_pixels(box: tf.Tensor, size: int) -> tf.Tensor:
    """A box in whole pixels: sides rounded, offsets cut.

    Args:
      box: float32 `[b, 4]` from `sample_box`.
      size: Side S.

    Returns:
      float32 `[b, 4]` of integers: y, x, h, w; 1 <= h <= S and y + h <= S.
    """
    sides = tf.clip_by_value(tf.round(box[:, 2:] * size), 1.0, float(size))
    corner = tf.minimum(tf.floor(box[:, :2] * size), size - sides)
    return tf.concat([corner, sides], -1)


def recrop(planes: Planes, box: tf.Tensor, mirrored: tf.Tensor) -> Planes:
    """Cuts a box out of every image, resizes it to the image's size, flips it.

    Args:
      planes: Three float32 `[b, S, S]`.
      box: float32 `[b, 4]` from `sample_box`.
      mirrored: bool `[b]`.

    Returns:
      Three float32 `[b, S, S]`, bicubic as `geometry.resize`, clipped to [0, 1].
    """
    size = planes[0].shape[1]
    y, x, h, w = tf.unstack(tf.cast(box_pixels(box, size), tf.int32), axis=-1)
    rows = interpolation.bicubic(y, h, size, size)
    columns = interpolation.bicubic(x, w, size, size)
    columns = tf.where(per_image(mirrored), tf.reverse(columns, [1]), columns)
    return [
        tf.clip_by_value(
            tf.matmul(tf.matmul(rows, plane), columns, transpose_b=True), 0.0, 1.0
        )
        for plane in planes
    ]
