"""Blur of one image tap by tap, for a CPU: the products with zeros are left out.

The same filters as the matrices of `blur`. An axis is filtered by weighing the image
shifted by -r to r pixels; what to multiply is a function of the shifts, so that all of
them come out of one loop.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

Weigh = Callable[[Callable[[int], tf.Tensor]], tf.Tensor]
"""Function of (function of a shift in pixels to the shifted image) to the sum."""


def gaussian_reaches(radius: int) -> dict[int, float]:
    """Taps on either side that are enough, and the sigma from which they are not.

    Six deviations out a weight is below 2e-8 of the centre's: half of a float32's last
    bit.

    Args:
      radius: The filter's own taps on either side, the last entry.
    """
    reaches = sorted({radius // 2, 3 * radius // 4, radius} - {0})
    return {r: (r + 1) / 6.0 if r < radius else math.inf for r in reaches}


def pil_reach(sigma: float) -> int:
    """Pixels on either side that `pil_matrix` takes in, for sigmas up to this one."""
    whole = math.floor((math.sqrt(4.0 * sigma * sigma + 1.0) - 1.0) / 2.0)
    return 3 * (whole + 1)


def pil_reaches(sigma: float) -> dict[int, float]:
    """As `gaussian_reaches`, for PIL's filter: box filters end, nothing is left out.

    Args:
      sigma: The largest that is drawn, pixels.
    """
    largest = pil_reach(sigma)
    wholes = range(largest // 3)
    return {3 * (w + 1): math.sqrt((w + 1) * (w + 2)) for w in wholes}


def gaussian(sigma: tf.Tensor, radius: int, reach: int) -> tf.Tensor:
    """The weights of `blur.gaussian_matrix` by distance, for `symmetric`.

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
    """Weights `[r + 1]` by distance; zeros around the image are as good as no border.

    Pixels that are equally far away are added first, which saves half of the products.
    """

    def weigh(shifted: Callable[[int], tf.Tensor]) -> tf.Tensor:
        reach = kernel.shape[0] - 1
        pairs = [kernel[k] * (shifted(k) + shifted(-k)) for k in range(1, reach + 1)]
        return tf.add_n([kernel[0] * shifted(0), *pairs])

    return weigh


def banded(band: tf.Tensor, axis: int) -> Weigh:
    """Weights of a `band`; axis 1 filters rows, 2 columns."""

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
    """The entries of a banded filter matrix, without its zeros.

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
