"""Gaussian blur of a batch, a sigma per image, as products with banded matrices.

A separable filter with fixed borders is y = K x K^T. The matrix K `[b, S, S]` holds
kernel and border rule together; matrix products are what XLA runs on every device,
while a convolution with a kernel per image is not.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf


def gaussian_radius(size: int) -> int:
    """Pixels on either side of the centre tap: int((size / 10) / 2).

    SimCLR passes size // 10 (tf2/data_util.py), BYOL size / 10 (augmentations.py);
    both halve and cut, so both get size // 20: 11 at 224 (23 taps), 1 at 32.
    """
    return size // 20


def gaussian_matrix(
    sigma: tf.Tensor, size: int, radius: int | None = None
) -> tf.Tensor:
    """Rows of a truncated Gaussian that is cut, not renormalised, at the borders.

    K[i, j] = exp(-(i-j)^2 / 2 sigma^2) / Z for |i-j| <= radius, Z the sum over all
    2 * radius + 1 taps. Zero padding therefore darkens the borders, as in the official
    SimCLR and BYOL.

    Args:
      sigma: float32 `[b]`, pixels, > 0.
      size: Side of the images.
      radius: Taps on either side; `gaussian_radius(size)` if None.

    Returns:
      float32 `[b, size, size]`.
    """
    radius = gaussian_radius(size) if radius is None else radius
    place = np.arange(size, dtype=np.float32)
    distance = np.abs(place[:, None] - place[None, :])
    taps = np.arange(-radius, radius + 1, dtype=np.float32)
    scale = -0.5 / tf.square(sigma)
    total = tf.reduce_sum(tf.exp(scale[:, None] * np.square(taps)), axis=-1)
    kernel = tf.exp(scale[:, None, None] * np.square(distance))
    inside = (distance <= radius).astype(np.float32)
    return kernel * inside / total[:, None, None]


def pil_matrix(sigma: tf.Tensor, size: int) -> tf.Tensor:
    """PIL's GaussianBlur: three box filters of fractional width, edges repeated.

    A box of half width w = l + 1/2 + a around pixel i overlaps the cell of pixel j by
    a share that is the weight; the first and last cells reach to infinity, which is
    the repeated edge. l and a follow from sigma (Gwosdek et al. 2011, "Theoretical
    foundations of Gaussian convolution by extended box filtering", eq. 14, n = 3, as
    in Pillow's BoxBlur.c).

    Args:
      sigma: float32 `[b]`, pixels, > 0; PIL calls it radius.
      size: Side of the images.

    Returns:
      float32 `[b, size, size]`, rows sum to 1.
    """
    variance = tf.square(sigma) / 3.0
    whole = tf.floor((tf.sqrt(12.0 * variance + 1.0) - 1.0) / 2.0)
    part = (2.0 * whole + 1.0) * (whole * (whole + 1.0) - 3.0 * variance)
    part /= 6.0 * (variance - tf.square(whole + 1.0))
    half = (whole + 0.5 + part)[:, None, None]
    place = np.arange(size, dtype=np.float32)
    low, high = place - 0.5, place + 0.5
    low[0], high[-1] = -2.0 * size, 2.0 * size
    low, high = low[None, :] - place[:, None], high[None, :] - place[:, None]
    # minimum and maximum, as clip_by_value refuses bounds that broadcast the value.
    above = tf.minimum(tf.maximum(high, -half), half)
    below = tf.minimum(tf.maximum(low, -half), half)
    box = (above - below) / (2.0 * half)
    return box @ box @ box


def blur(planes: list[tf.Tensor], matrix: tf.Tensor) -> list[tf.Tensor]:
    """Filters rows and columns: y = K x K^T for every channel.

    Args:
      planes: Three float32 `[b, S, S]` (red, green, blue).
      matrix: float32 `[b, S, S]` from `gaussian_matrix` or `pil_matrix`, or
        `[1, S, S]` where all images share one sigma.

    Returns:
      Three float32 `[b, S, S]`, clipped to [0, 1].
    """
    return [
        tf.clip_by_value(
            tf.matmul(tf.matmul(matrix, plane), matrix, transpose_b=True), 0.0, 1.0
        )
        for plane in planes
    ]
