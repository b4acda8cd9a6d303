"""Gaussian blur, a sigma per image: products with matrices, or tap by tap for a CPU.

A separable filter with fixed borders is y = K x K^T. The matrix K `[b, S, S]` holds
kernel and border rule together; matrix products are what XLA runs on every device,
while a convolution with a kernel per image is not.

Tap by tap, the products with zeros are left out: an axis of one image is filtered by
weighing the image shifted by -r to r pixels. What to multiply is a function of the
shifts, so that all of them come out of one loop.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

Weigh = Callable[[Callable[[int], tf.Tensor]], tf.Tensor]
"""Function of (function of a shift in pixels to the shifted image) to the sum."""


def gaussian_radius(size: int) -> int:
    """Returns the pixels on either side of the centre tap: int((size / 10) / 2).

    SimCLR passes size // 10 (tf2/data_util.py), BYOL size / 10 (augmentations.py);
    both halve and cut, so both get size // 20: 11 at 224 (23 taps), 1 at 32.
    """
    return size // 20


def gaussian_matrix(
    sigma: tf.Tensor, size: int, radius: int | None = None
) -> tf.Tensor:
    """Makes the matrix of a truncated Gaussian cut, not renormalised, at borders.

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
    """Makes the matrix of PIL's GaussianBlur: three box filters, edges repeated.

    A box of fractional half width w = l + 1/2 + a around pixel i overlaps the cell of
    pixel j by a share that is the weight; the first and last cells reach to infinity,
    which is the repeated edge. l and a follow from sigma (Gwosdek et al. 2011,
    "Theoretical foundations of Gaussian convolution by extended box filtering", eq. 14,
    n = 3, as in Pillow's BoxBlur.c).

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


def gaussian_reaches(radius: int) -> dict[int, float]:
    """Returns numbers of taps on either side, and the sigma from which each is too few.

    Six deviations out a weight is below 2e-8 of the centre's: half of a float32's last
    bit.

    Args:
      radius: The filter's own taps on either side, the last entry.
    """
    reaches = sorted({radius // 2, 3 * radius // 4, radius} - {0})
    return {r: (r + 1) / 6.0 if r < radius else math.inf for r in reaches}


def pil_reach(sigma: float) -> int:
    """Returns the pixels on either side that `pil_matrix` takes in at this sigma."""
    whole = math.floor((math.sqrt(4.0 * sigma * sigma + 1.0) - 1.0) / 2.0)
    return 3 * (whole + 1)


def pil_reaches(sigma: float) -> dict[int, float]:
    """Returns the same for PIL's filter: box filters end, nothing is left out.

    Args:
      sigma: The largest that is drawn, pixels.
    """
    largest = pil_reach(sigma)
    wholes = range(largest // 3)
    return {3 * (w + 1): math.sqrt((w + 1) * (w + 2)) for w in wholes}


def gaussian(sigma: tf.Tensor, radius: int, reach: int) -> tf.Tensor:
    """Returns the weights of `gaussian_matrix` by distance, for `symmetric`.

    Args:
      sigma: float32 scalar, pixels, > 0.
      radius: Taps on either side, over which the weights sum to 1.
      reach: How many of them are kept; see `gaussian_reaches`.

    Returns:
      float32 `[reach + 1]`, the centre's first.
    """
    distance = np.arange(radius + 1, dtype=np.float32)
    kernel = tf.exp(-0.5 / tf.square(sigma) * np.square(distance))
    kernel /= 2.0 * tf.reduce_sum(kernel) - 1.0  # the centre's 1 counts once
    return kernel[: reach + 1]


def symmetric(kernel: tf.Tensor) -> Weigh:
    """Makes a filter of weights `[r + 1]` by distance, for images with zeros around.

    Pixels that are equally far away are added first, which saves half of the products.
    """

    def weigh(shifted: Callable[[int], tf.Tensor]) -> tf.Tensor:
        reach = kernel.shape[0] - 1
        pairs = [kernel[k] * (shifted(k) + shifted(-k)) for k in range(1, reach + 1)]
        return tf.add_n([kernel[0] * shifted(0), *pairs])

    return weigh


def banded(band: tf.Tensor, axis: int) -> Weigh:
    """Makes a filter of a `band`; axis 1 filters rows, 2 columns."""

    def weigh(shifted: Callable[[int], tf.Tensor]) -> tf.Tensor:
        reach = band.shape[0] // 2
        terms = []
        for k in range(-reach, reach + 1):
            own = band[reach + k]
            own = own[:, None] if axis == 1 else own
            terms.append(own * shifted(k))
        return tf.add_n(terms)

    return weigh


def band(matrix: Callable[[int], tf.Tensor], size: int, reach: int) -> tf.Tensor:
    """Returns the entries of a banded filter matrix, without its zeros.

    Away from the borders all rows are alike, so that a small matrix has them all.

    Args:
      matrix: Side n to the filter matrix of n pixels, `[n, n]`.
      size: Side S of the images.
      reach: Entries further from the diagonal are zero.

    Returns:
      float32 `[2 * reach + 1, S]`: entry (k, i) weighs pixel i + k - reach for i.
    """
    small = min(size, 4 * reach + 1)
    padded = tf.pad(matrix(small), [[0, 0], [reach, reach]])
    rows = [padded[i, i : i + 2 * reach + 1] for i in range(small)]
    middle = small // 2
    return tf.stack(
        rows[:middle] + [rows[middle]] * (size - small + 1) + rows[middle + 1 :], 1
    )


def filter_rows(image: tf.Tensor, reach: int, weigh: Weigh) -> tf.Tensor:
    """Filters along the middle axis; zeros are outside.

    Args:
      image: float32 `[c, S, S]`.
      reach: Taps on either side.
      weigh: The filter.

    Returns:
      float32 `[c, S, S + 2 * reach]`, with the zeros that `filter_columns` wants.
    """
    size = image.shape[1]
    padded = tf.pad(image, [[0, 0], [reach, reach], [reach, reach]])
    return weigh(lambda k: padded[:, reach + k : reach + k + size])


def filter_columns(padded: tf.Tensor, reach: int, weigh: Weigh) -> tf.Tensor:
    """Filters `[c, S, S + 2 * reach]` along the last axis, to `[c, S, S]`."""
    size = padded.shape[1]
    return weigh(lambda k: padded[:, :, reach + k : reach + k + size])
