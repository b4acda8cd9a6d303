"""Crop boxes by the laws of the three official codes, one function each.

Three, because the codes differ in law and not in numbers only. A law takes uniform
numbers, for any number of boxes: one image's views on the host, a whole batch, or
SimCLR's second crop (`ablation`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import tensorflow as tf

from tfssl.augment.recipe_types import ViewRecipe

ATTEMPTS_TORCHVISION = 10
ATTEMPTS_SIMCLR = 100
# Of a batch at once. An attempt fails one time in ten, so that the difference between
# 32 and 100 is below 1e-30; it takes area bounds around 0.1 to see any.
_ATTEMPTS_BATCH = 32
_COVERED = 0.1  # a box below this share of the image is rejected, whatever the bounds

Box = tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]
"""Row and column of the upper left pixel, height, width: y, x, h, w, int32."""


def sample_crop(
    view: ViewRecipe, seed: tf.Tensor, height: tf.Tensor, width: tf.Tensor
) -> Box:
    """Draws a crop box by the view's sampler.

    * `"simclr"`: TensorFlow's distorted box. Aspect uniform, height uniform between
      what the areas imply, boxes under 10 % of the image rejected, offset never the
      last one (tf2/data_util.py).
    * `"torchvision"`: area uniform, aspect log-uniform, ten attempts, then a centre
      crop of the nearest allowed aspect (RandomResizedCrop; MoCo).
    * `"byol"`: area uniform, aspect log-uniform, sides clipped to the image, nothing
      rejected (byol/utils/dataset.py).

    Args:
      view: Holds `sampler`, `area`, `aspect`.
      seed: int64 `[2]`.
      height: int32 scalar, the image's.
      width: int32 scalar.

    Returns:
      `(y, x, h, w)` int32 scalars with 0 <= y <= y + h <= height, likewise x.
    """
    if view.sampler == "simclr":
        return _official_simclr(view, seed, height, width)
    return _LAWS[view.sampler](view, _numbers(view, seed), height, width)


def sample_views(
    views: Sequence[ViewRecipe],
    seeds: Sequence[tf.Tensor],
    height: tf.Tensor,
    width: tf.Tensor,
) -> tf.Tensor:
    """Draws the boxes of all views of one image: those of `sample_crop`, sooner.

    Args:
      views: V of them.
      seeds: One a view.
      height: int32 scalar, the image's.
      width: int32 scalar.

    Returns:
      int32 `[V, 4]`: y, x, h, w.
    """
    first = views[0]
    alike = {(view.sampler, view.area, view.aspect) for view in views}
    if first.sampler == "simclr" or len(alike) > 1:
        pairs = zip(views, seeds, strict=True)
        return tf.stack([sample_crop(*pair, height, width) for pair in pairs])
    numbers = tf.stack([_numbers(first, seed) for seed in seeds], axis=1)
    return tf.stack(_LAWS[first.sampler](first, numbers, height, width), axis=1)


def sample_batch(
    view: ViewRecipe, seed: tf.Tensor, batch: int, height: int, width: int
) -> Box:
    """Draws boxes for a batch of images of one size; XLA compiles it.

    Args:
      view: Holds `sampler`, `area`, `aspect`.
      seed: int64 `[2]`.
      batch: Number of boxes, a Python integer.
      height: Of all images.
      width: Of all images.

    Returns:
      `(y, x, h, w)`, each int32 `[batch]`.
    """
    shape = {
        "simclr": [4, batch, _ATTEMPTS_BATCH],
        "torchvision": [4, batch, ATTEMPTS_TORCHVISION],
        "byol": [4, batch],
    }[view.sampler]
    law, numbers = _LAWS[view.sampler], uniform(shape, seed)
    return law(view, numbers, tf.constant(height), tf.constant(width))


def _numbers(view: ViewRecipe, seed: tf.Tensor) -> tf.Tensor:
    """Draws the numbers of a box: `[4, attempts]`, `[4]` where nothing is rejected."""
    shape = [4] if view.sampler == "byol" else [4, ATTEMPTS_TORCHVISION]
    return host_uniform(shape, seed)


def _official_simclr(
    view: ViewRecipe, seed: tf.Tensor, height: tf.Tensor, width: tf.Tensor
) -> Box:
    """Calls the operation of the official code: for an image alone, on the host."""
    begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
        tf.stack([height, width, 3]),
        tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
        seed=seed,
        min_object_covered=_COVERED,
        aspect_ratio_range=view.aspect,
        area_range=view.area,
        max_attempts=ATTEMPTS_SIMCLR,
        use_image_if_no_bounding_boxes=True,
    )
    return begin[0], begin[1], size[0], size[1]


def simclr_boxes(
    view: ViewRecipe,
    u: tf.Tensor | Sequence[tf.Tensor],
    height: tf.Tensor | int,
    width: tf.Tensor | int,
) -> Box:
    """Computes what `sample_distorted_bounding_box` draws, from uniform numbers.

    Args:
      view: Holds `area` and `aspect`.
      u: Four float32 `[..., attempts]` in [0, 1): for the aspect, the height, the row
        and the column of every attempt. The first attempt that fits counts.
      height: Of the images, pixels.
      width: Of the images, pixels.

    Returns:
      `(y, x, h, w)` int32 `[...]`; the whole image where no attempt fits.
    """
    pixels = tf.cast(height * width, tf.float32)
    least, most = view.area[0] * pixels, view.area[1] * pixels
    low, high = view.aspect
    aspect = low + (high - low) * u[0]
    lowest, highest = _rounded(tf.sqrt(least / aspect)), tf.sqrt(most / aspect)
    # The tallest box whose rounded width still is within the image.
    fitting = tf.cast((tf.cast(width, tf.float32) + 0.5) / aspect, tf.int32)
    fitting -= tf.cast(
        _rounded(tf.cast(fitting, tf.float32) * aspect) > width, tf.int32
    )
    highest = tf.minimum(tf.minimum(_rounded(highest), fitting), height)
    h = tf.minimum(lowest, highest)
    h += _offset(u[1], highest - h)
    w = _rounded(tf.cast(h, tf.float32) * aspect)
    h += tf.cast(tf.cast(h * w, tf.float32) < least, tf.int32)
    w = _rounded(tf.cast(h, tf.float32) * aspect)
    area = tf.cast(h * w, tf.float32)
    fits = (area >= tf.maximum(least, _COVERED * pixels)) & (area <= most)
    fits &= (h > 0) & (h <= height) & (w > 0) & (w <= width)
    found, (h, w, down, right) = _first(fits, [h, w, u[2], u[3]])
    h, w = tf.where(found, h, height), tf.where(found, w, width)
    # One less than there is room for: the box never touches the far border.
    y = _offset(down, tf.maximum(height - h - 1, 0))
    return y, _offset(right, tf.maximum(width - w - 1, 0)), h, w


def _torchvision_boxes(
    view: ViewRecipe, u: tf.Tensor, height: tf.Tensor, width: tf.Tensor
) -> Box:
    """Draws torchvision's `RandomResizedCrop`; else as `simclr_boxes`."""
    h, w = _log_uniform_sides(view, u[0], u[1], height, width)
    fits = (h > 0) & (h <= height) & (w > 0) & (w <= width)
    found, (h, w, down, right) = _first(fits, [h, w, u[2], u[3]])
    # The fallback cuts the longer side to the extreme aspect, or takes everything.
    low, high = view.aspect
    tall = tf.cast(tf.round(tf.cast(width, tf.float32) / low), tf.int32)
    wide = tf.cast(tf.round(tf.cast(height, tf.float32) * high), tf.int32)
    h = tf.where(found, h, tf.minimum(height, tall))
    w = tf.where(found, w, tf.minimum(width, wide))
    y = tf.where(found, _offset(down, height - h), (height - h) // 2)
    return y, tf.where(found, _offset(right, width - w), (width - w) // 2), h, w


def _byol_boxes(
    view: ViewRecipe, u: tf.Tensor, height: tf.Tensor, width: tf.Tensor
) -> Box:
    """Draws BYOL's crop from uniform numbers `[4, ...]`; nothing is rejected."""
    h, w = _log_uniform_sides(view, u[0], u[1], height, width)
    h, w = tf.clip_by_value(h, 1, height), tf.clip_by_value(w, 1, width)
    return _offset(u[2], height - h), _offset(u[3], width - w), h, w


_LAWS = {
    "simclr": simclr_boxes,
    "torchvision": _torchvision_boxes,
    "byol": _byol_boxes,
}


def _log_uniform_sides(
    view: ViewRecipe,
    area: tf.Tensor,
    position: tf.Tensor,
    height: tf.Tensor,
    width: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns rounded (h, w): a share of the area, a log-uniform aspect."""
    pixels = tf.cast(height * width, tf.float32)
    pixels *= view.area[0] + (view.area[1] - view.area[0]) * area
    low, high = math.log(view.aspect[0]), math.log(view.aspect[1])
    aspect = tf.exp(low + (high - low) * position)
    return _rounded(tf.sqrt(pixels / aspect)), _rounded(tf.sqrt(pixels * aspect))


def _rounded(value: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.round(value), tf.int32)


def _offset(uniform: tf.Tensor, free: tf.Tensor) -> tf.Tensor:
    """Returns an integer in [0, free], both ends included."""
    scaled = tf.cast(uniform * tf.cast(free + 1, tf.float32), tf.int32)
    return tf.minimum(scaled, free)


def _first(
    fits: tf.Tensor, values: list[tf.Tensor]
) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """Returns whether any attempt (last axis) fits, and the values of the first."""
    first = tf.argmax(tf.cast(fits, tf.int32), axis=-1)

    def pick(value: tf.Tensor) -> tf.Tensor:
        return tf.gather(value, first, axis=-1, batch_dims=value.shape.rank - 1)

    return pick(fits), [pick(value) for value in values]


def uniform(shape: Sequence[int], seed: tf.Tensor) -> tf.Tensor:
    """Draws numbers that are the same inside and outside of XLA.

    Args:
      shape: Static.
      seed: int64 `[2]`.

    Returns:
      float32, multiples of 2^-24 in [0, 1).
    """
    bits = tf.random.stateless_uniform(
        shape, seed, minval=None, maxval=None, dtype=tf.uint32, alg="philox"
    )
    kept = tf.bitwise.right_shift(bits, tf.constant(8, tf.uint32))
    return tf.cast(kept, tf.float32) * 2**-24


def host_uniform(shape: Sequence[int], seed: tf.Tensor) -> tf.Tensor:
    """Draws the floats of `tf.random.stateless_uniform(..., alg="philox")` on a host.

    By two operations where that takes sixteen: a CPU spends longer on them than on the
    numbers.

    Args:
      shape: Static.
      seed: int64 `[2]`.

    Returns:
      float32, multiples of 2^-23 in [0, 1).
    """
    mixed = tf.raw_ops.StatelessRandomGetKeyCounter(seed=seed)
    return tf.raw_ops.StatelessRandomUniformV2(
        shape=tf.constant(shape, tf.int32), key=mixed.key, counter=mixed.counter, alg=1
    )
