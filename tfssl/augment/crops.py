"""Crop, resize and flip on the host, one example at a time, inside tf.data.

Everything is a pure function of the image and an int64 `[2]` seed. Two steps: `draw`
makes the cuts, int32 `[V, 6]` (y, x, height and width of each crop, 1 where it is
mirrored, 1 where it is resized by PIL's antialiased bilinear filter and not by
TensorFlow's bicubic one); a `Cutter` makes views of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import tensorflow as tf

from tfssl.augment import boxes, geometry, native
from tfssl.augment.recipes import Recipe, ViewRecipe
from tfssl.errors import message

# Pixels around a crop that its own depend on: colour has half the resolution, and its
# samples are interpolated.
_NEIGHBOURS = 2

# Blocks of pixels that a JPEG of half the colour resolution is coded in. A window that
# begins within one costs more: libjpeg decodes the block, TensorFlow moves the rest.
_BLOCK = 16


def to_uint8(image: tf.Tensor) -> tf.Tensor:
    """Computes `cast(clip(round(image), 0, 255))`, halves to even, in one pass."""
    out = tf.raw_ops.QuantizeV2(
        input=image,
        min_range=0.0,
        max_range=255.0,
        T=tf.quint8,
        mode="SCALED",
        round_mode="HALF_TO_EVEN",
    )
    return tf.bitcast(out.output, tf.uint8)


def _fold(seed: tf.Tensor, *numbers: int) -> tf.Tensor:
    """Returns an independent seed; first words stay below 2**32, so none collide."""
    return seed + tf.constant([sum(n + 1 for n in numbers) << 32, 0], tf.int64)


def draw(
    recipe: Recipe, seed: tf.Tensor, height: tf.Tensor, width: tf.Tensor
) -> tf.Tensor:
    """Draws all views of an image, independently; one for all with `shared_crop`.

    Args:
      recipe: One entry of `recipe.views` per view.
      seed: int64 `[2]`, identifies the example's row at this step.
      height: int32 scalar, the image's.
      width: int32 scalar.

    Returns:
      int32 `[V, 6]`, the cuts; `[1, 6]` with `shared_crop`.
    """
    views = recipe.views[:1] if recipe.shared_crop else recipe.views
    seeds = [view_seed(seed, number) for number in range(len(views))]
    return _draw(views, seeds, height, width)


def draw_one(
    view: ViewRecipe, seed: tf.Tensor, height: tf.Tensor, width: tf.Tensor
) -> tf.Tensor:
    """Draws one view of an image of this size: int32 `[6]`, a row of `draw`."""
    return _draw([view], [seed], height, width)[0]


def _draw(
    views: Sequence[ViewRecipe],
    seeds: Sequence[tf.Tensor],
    height: tf.Tensor,
    width: tf.Tensor,
) -> tf.Tensor:
    found = boxes.sample_views(views, [_fold(s, 0) for s in seeds], height, width)
    coins = tf.stack([boxes.host_uniform([], _fold(s, 1)) for s in seeds])
    mirrored = tf.cast(coins < [view.flip for view in views], tf.int32)
    soft = tf.constant([int(_soft(view)) for view in views])
    return tf.concat([found, tf.stack([mirrored, soft], 1)], 1)


def view_seed(seed: tf.Tensor, number: int) -> tf.Tensor:
    """Returns the seed of view `number` of the example that `seed` identifies."""
    return _fold(seed, 16 * (number + 1))


@dataclasses.dataclass(frozen=True)
class Cutter:
    """Who cuts the views of a run; `build` chooses one, the pipeline carries it.

    Attributes:
      name: For the log.
      field: What a batch holds for it: `"views"`, which were cut on the host, or
        `"index"`, by which the device finds the images that it cuts itself
        (`train.views`; small images in memory only).
      cut: Function of (image uint8 `[h, w, 3]`, cuts int32 `[V, 6]`, their
        `ViewRecipe`s, side S) to uint8 `[V, S, S, 3]`; None where the device cuts.
    """

    name: str
    field: str
    cut: Callable[..., tf.Tensor] | None


def _by_operations(
    image: tf.Tensor, cuts: tf.Tensor, views: Sequence[ViewRecipe], size: int
) -> tf.Tensor:
    pairs = zip(tf.unstack(cuts), views, strict=True)
    return tf.stack([_cut_one(image, *pair, size) for pair in pairs])


def _cut_one(
    image: tf.Tensor, cut: tf.Tensor, view: ViewRecipe, size: int
) -> tf.Tensor:
    begin, shape = tf.concat([cut[:2], [0]], 0), tf.concat([cut[2:4], [3]], 0)
    crop = tf.slice(image, begin, shape)
    resized = geometry.resize(crop, size, size, view.resize, antialias=_soft(view))
    out = to_uint8(resized)
    if view.flip:
        out = flipped(out, cut[4] > 0)
    return tf.ensure_shape(out, [size, size, 3])


def _soft(view: ViewRecipe) -> bool:
    return view.resize == "bilinear"  # as PIL resizes


def flipped(image: tf.Tensor, mirrored: tf.Tensor) -> tf.Tensor:
    """Exchanges left and right of `[S, S, 3]` where the bool scalar says so."""
    # Without the branch, `Reverse` takes twice as long for what it leaves as it is.
    return tf.cond(mirrored, lambda: tf.reverse(image, [1]), lambda: image)


TENSORFLOW = Cutter("tensorflow", "views", _by_operations)
"""TensorFlow's operations: in any process, also one of a tf.data service."""

NATIVE = Cutter(
    "native", "views", lambda image, cuts, _, size: native.cut_views(image, cuts, size)
)
"""Machine code of our own: the same bits in a third of the time, in this process."""

ON_DEVICE = Cutter("device", "index", None)
"""Matrix products beside the network (`matrix_views`)."""


def host_cutter(this_process: bool) -> Cutter:
    """Returns the fastest cutter of a host.

    Args:
      this_process: Whether batches are made here, where `NATIVE` may be available.
    """
    return NATIVE if this_process and native.available() else TENSORFLOW


def show(
    image: tf.Tensor,
    cuts: tf.Tensor,
    recipe: Recipe,
    size: int,
    cutter: Cutter = TENSORFLOW,
) -> tf.Tensor:
    """Cuts the views that were drawn.

    Args:
      image: uint8 `[h, w, 3]`.
      cuts: Of `draw`.
      recipe: That of the cuts.
      size: Side S of the views.
      cutter: Of the host.

    Returns:
      uint8 `[V, S, S, 3]`.

    Raises:
      ValueError: The cutter is the device's.
    """
    if cutter.cut is None:
        got = f"the cutter {cutter.name!r} for an image on the host"
        raise ValueError(message(got, "TENSORFLOW or NATIVE", "host_cutter()"))
    views = cutter.cut(image, cuts, recipe.views[: cuts.shape[0]], size)
    return tf.repeat(views, len(recipe.views), 0) if recipe.shared_crop else views


def show_jpeg(
    data: tf.Tensor,
    shape: tf.Tensor,
    cuts: tf.Tensor,
    recipe: Recipe,
    size: int,
    cutter: Cutter = TENSORFLOW,
    whole: tf.Tensor | None = None,
) -> tf.Tensor:
    """Cuts views out of a JPEG that is decoded no further than they reach.

    Args:
      data: string scalar, a JPEG's bytes.
      shape: int32 `[2]` or more, its height and width first.
      cuts: Of `draw`.
      recipe: That of the cuts.
      size: Side S of the views.
      cutter: Of the host.
      whole: bool scalar; where it is false everything is decoded, since only then a
        decoder notices that the end is missing.

    Returns:
      uint8 `[V, S, S, 3]`, the bits of `show` of the whole image.

    Raises:
      tf.errors.InvalidArgumentError: When run, if the bytes are no such image.
    """
    first = tf.reduce_min(cuts[:, :2], 0) - _NEIGHBOURS
    first = tf.bitwise.bitwise_and(tf.maximum(first, 0), -_BLOCK)
    last = tf.reduce_max(cuts[:, :2] + cuts[:, 2:4], 0) + _NEIGHBOURS
    last = tf.minimum(last, shape[:2])
    if whole is not None:
        first, last = tf.where(whole, first, 0), tf.where(whole, last, shape[:2])
    window = tf.concat([first, last - first], 0)
    image = tf.io.decode_and_crop_jpeg(data, window, channels=3)
    moved = cuts - tf.concat([first, [0, 0, 0, 0]], 0)
    return show(image, moved, recipe, size, cutter)


def views(
    image: tf.Tensor,
    recipe: Recipe,
    seed: tf.Tensor,
    size: int,
    cutter: Cutter = TENSORFLOW,
) -> tf.Tensor:
    """Draws and cuts all views of an image, independently.

    Args:
      image: uint8 `[h, w, 3]`.
      recipe: One entry of `recipe.views` per view; one crop with `shared_crop`.
      seed: int64 `[2]`, identifies the example's row at this step.
      size: Side of the views.
      cutter: Of the host.

    Returns:
      uint8 `[V, size, size, 3]`.
    """
    shape = tf.shape(image)
    cuts = draw(recipe, seed, shape[0], shape[1])
    return show(image, cuts, recipe, size, cutter)


def crop_flip_resize(
    image: tf.Tensor, view: ViewRecipe, seed: tf.Tensor, size: int
) -> tf.Tensor:
    """Draws and cuts one view of an image.

    Args:
      image: uint8 `[h, w, 3]`, any h and w >= 1.
      view: Holds sampler, resize method and flip probability.
      seed: int64 `[2]`.
      size: Side of the view.

    Returns:
      uint8 `[size, size, 3]`, rounded and clipped.
    """
    shape = tf.shape(image)
    return _cut_one(image, draw_one(view, seed, shape[0], shape[1]), view, size)
