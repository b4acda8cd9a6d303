"""Crop and resize along one axis as a small matrix, equal to the host's kernels.

A view is `K_y X K_x^T` for every channel, `K` holding crop and resize together. Shapes
are static and every operation compiles under XLA, for any device.
"""

from __future__ import annotations

import tensorflow as tf

_STEPS = 1024  # in which TensorFlow's bicubic kernel tabulates a pixel


def bicubic(begin: tf.Tensor, count: tf.Tensor, side: int, size: int) -> tf.Tensor:
    """Keys' cubic, a = -1/2, half-pixel centres, weights of the pixels there are.

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
    """A triangle as wide as two pixels of the larger grid (PIL's bilinear).

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
    """Number of every pixel from the crop's first, and 1.0 where it is in the crop."""
    pixel = tf.range(side) - begin[:, None]
    inside = tf.cast((pixel >= 0) & (pixel < count[:, None]), tf.float32)
    return tf.cast(pixel, tf.float32), inside[:, None]


def _normalised(kernel: tf.Tensor) -> tf.Tensor:
    return kernel / tf.reduce_sum(kernel, axis=-1, keepdims=True)
