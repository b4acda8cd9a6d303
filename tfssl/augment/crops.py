"""Crop, resize and flip on the host, one example at a time, inside tf.data.

Everything is a pure function of the image and an int64 `[2]` seed. What is drawn is cut
either by TensorFlow's operations or, where the caller says so, by our own machine code
(`tfssl.augment.native`): the same bits in a third of the time.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from tfssl.augment import boxes, geometry, native
from tfssl.augment.recipes import Recipe, ViewRecipe

# Pixels around a crop that its own depend on: colour has half the resolution, and its
# samples are interpolated.
_NEIGHBOURS = 2


def _to_uint8(image: tf.Tensor) -> tf.Tensor:
    """`cast(clip(round(image), 0, 255))`, halves to even, in one pass."""
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
    """An independent seed; callers' first words stay below 2**32, so none collide."""
    return seed + tf.constant([sum(n + 1 for n in numbers) << 32, 0], tf.int64)


class Cut(NamedTuple):
    """One view: the box that it shows, and whether mirrored. Scalars."""

    y: tf.Tensor
    x: tf.Tensor
    h: tf.Tensor
    w: tf.Tensor
    mirrored: tf.Tensor


def draw_one(
    view: ViewRecipe, seed: tf.Tensor, height: tf.Tensor, width: tf.Tensor
) -> Cut:
    """Draws crop and flip of one view of an image of this size."""
    box = boxes.sample_crop(view, _fold(seed, 0), height, width)
    return Cut(*box, _mirrored(view, seed))


def draw(
    recipe: Recipe, seed: tf.Tensor, height: tf.Tensor, width: tf.Tensor
) -> list[Cut]:
    """Draws all views of an image, independently; one for all with `shared_crop`.

    Args:
      recipe: One entry of `recipe.views` per view.
      seed: int64 `[2]`, identifies the example's row at this step.
      height: int32 scalar, the image's.
      width: int32 scalar.
    """
    if recipe.shared_crop:
        own = view_seed(seed, 0)
        return [draw_one(recipe.views[0], own, height, width)] * len(recipe.views)
    seeds = [view_seed(seed, number) for number in range(len(recipe.views))]
    found = boxes.sample_views(recipe, [_fold(s, 0) for s in seeds], height, width)
    return [
        Cut(*box, _mirrored(view, own))
        for box, view, own in zip(found, recipe.views, seeds, strict=True)
    ]


def view_seed(seed: tf.Tensor, number: int) -> tf.Tensor:
    """The seed of view `number` of the example that `seed` identifies."""
    return _fold(seed, 16 * (number + 1))


def _mirrored(view: ViewRecipe, seed: tf.Tensor) -> tf.Tensor:
    return tf.random.stateless_uniform([], _fold(seed, 1), alg="philox") < view.flip


def crop_flip_resize(
    image: tf.Tensor, view: ViewRecipe, seed: tf.Tensor, size: int
) -> tf.Tensor:
    """One random view of an image.

    Args:
      image: uint8 `[h, w, 3]`, any h and w >= 1.
      view: Holds sampler, resize method and flip probability.
      seed: int64 `[2]`.
      size: Side of the view.

    Returns:
      uint8 `[size, size, 3]`, rounded and clipped.
    """
    shape = tf.shape(image)
    return _shown(image, draw_one(view, seed, shape[0], shape[1]), view, size)


def _shown(image: tf.Tensor, cut: Cut, view: ViewRecipe, size: int) -> tf.Tensor:
    begin, shape = tf.stack([cut.y, cut.x, 0]), tf.stack([cut.h, cut.w, 3])
    crop = tf.slice(image, begin, shape)
    resized = geometry.resize(crop, size, size, view.resize, antialias=_soft(view))
    out = _to_uint8(resized)
    if view.flip:
        out = flipped(out, cut.mirrored)
    return tf.ensure_shape(out, [size, size, 3])


def _soft(view: ViewRecipe) -> bool:
    return view.resize == "bilinear"  # as PIL resizes


def flipped(image: tf.Tensor, mirrored: tf.Tensor) -> tf.Tensor:
    """`[S, S, 3]`, left and right exchanged where the bool scalar says so."""
    # Without the branch, `Reverse` takes twice as long for what it leaves as it is.
    return tf.cond(mirrored, lambda: tf.reverse(image, [1]), lambda: image)


def show(
    image: tf.Tensor,
    cuts: list[Cut],
    recipe: Recipe,
    size: int,
    machine_code: bool = False,
) -> tf.Tensor:
    """The views that were drawn.

    Args:
      image: uint8 `[h, w, 3]`.
      cuts: Of `draw`.
      recipe: That of the cuts.
      size: Side S of the views.
      machine_code: Cut by `tfssl.augment.native`, which must be available.

    Returns:
      uint8 `[V, S, S, 3]`.
    """
    pairs = list(zip(cuts, recipe.views, strict=True))
    if recipe.shared_crop:
        pairs = pairs[:1]
    if machine_code:
        views = native.cut_views(image, tf.stack([_row(*pair) for pair in pairs]), size)
    else:
        views = tf.stack([_shown(image, *pair, size) for pair in pairs])
    return tf.repeat(views, len(cuts), 0) if recipe.shared_crop else views


def _row(cut: Cut, view: ViewRecipe) -> tf.Tensor:
    """A view as `native.cut_views` has it."""
    mirrored = tf.cast(cut.mirrored, tf.int32)
    return tf.stack([*cut[:4], mirrored, int(_soft(view))])


def show_jpeg(
    data: tf.Tensor,
    shape: tf.Tensor,
    cuts: list[Cut],
    recipe: Recipe,
    size: int,
    machine_code: bool = False,
) -> tf.Tensor:
    """`show` of a JPEG that is decoded no further than the views reach; equal bits.

    Args:
      data: string scalar, a JPEG's bytes.
      shape: int32 `[2]` or more, its height and width first.
      cuts: Of `draw`.
      recipe: That of the cuts.
      size: Side S of the views.
      machine_code: As in `show`.

    Returns:
      uint8 `[V, S, S, 3]`.

    Raises:
      tf.errors.InvalidArgumentError: When run, if the bytes are no such image.
    """
    first = tf.reduce_min([[cut.y, cut.x] for cut in cuts], 0)
    last = tf.reduce_max([[cut.y + cut.h, cut.x + cut.w] for cut in cuts], 0)
    first = tf.maximum(first - _NEIGHBOURS, 0)
    last = tf.minimum(last + _NEIGHBOURS, shape[:2])
    window = tf.concat([first, last - first], 0)
    image = tf.io.decode_and_crop_jpeg(data, window, channels=3)
    moved = [cut._replace(y=cut.y - first[0], x=cut.x - first[1]) for cut in cuts]
    return show(image, moved, recipe, size, machine_code)


def views(
    image: tf.Tensor,
    recipe: Recipe,
    seed: tf.Tensor,
    size: int,
    machine_code: bool = False,
) -> tf.Tensor:
    """All views of an image, drawn independently from one decoded image.

    Args:
      image: uint8 `[h, w, 3]`.
      recipe: One entry of `recipe.views` per view; one crop with `shared_crop`.
      seed: int64 `[2]`, identifies the example's row at this step.
      size: Side of the views.
      machine_code: As in `show`.

    Returns:
      uint8 `[V, size, size, 3]`.
    """
    shape = tf.shape(image)
    cuts = draw(recipe, seed, shape[0], shape[1])
    return show(image, cuts, recipe, size, machine_code)
