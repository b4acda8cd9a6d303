"""Decode, crop, resize and flip on the host, one example at a time, inside tf.data.

Everything is a pure function of the bytes and an int64 `[2]` seed.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from tfssl.augment import boxes
from tfssl.augment.recipes import EvalTransform, Recipe, ViewRecipe

# Pixels around a crop that its own depend on: colour has half the resolution, and its
# samples are interpolated.
_NEIGHBOURS = 2
# Missing in some builds of TensorFlow 2.20; then WebP is refused when it is met.
_DECODE_WEBP = getattr(tf.io, "decode_webp", None)


def decode(data: tf.Tensor) -> tf.Tensor:
    """Decodes an image file of any kind that TensorFlow reads.

    JPEG (grey, CMYK), PNG (grey, palette, alpha, 16 bit), BMP, GIF (first frame), WebP
    where this TensorFlow has it (first frame). Alpha is dropped, not composited, as
    libpng does for `decode_png(channels=3)`; 16 bits keep the upper 8; the EXIF
    orientation is ignored, as in the official pipelines.

    Args:
      data: string scalar, the file's bytes.

    Returns:
      uint8 `[h, w, 3]` RGB.

    Raises:
      tf.errors.InvalidArgumentError: When run, if the bytes are no such image.
    """
    # DecodeImage insists on the file's own channels for BMP and WebP, so these two
    # are told apart by their first bytes. The padding is for files under 12 bytes,
    # where substr would complain about the position instead of about the image.
    head = tf.strings.join([tf.strings.substr(data, 0, 12), " " * 12])
    is_bmp = tf.equal(tf.strings.substr(head, 0, 2), b"BM")

    def usual() -> tf.Tensor:
        return tf.io.decode_image(data, channels=3, expand_animations=False)

    def bmp() -> tf.Tensor:
        return _three_channels(tf.io.decode_bmp(data, channels=0))

    def not_webp() -> tf.Tensor:
        return tf.cond(is_bmp, bmp, usual)

    if _DECODE_WEBP is None:
        image = not_webp()
    else:
        is_webp = tf.equal(tf.strings.substr(head, 0, 4), b"RIFF") & tf.equal(
            tf.strings.substr(head, 8, 4), b"WEBP"
        )
        image = tf.cond(
            is_webp,
            lambda: _three_channels(_DECODE_WEBP(data, channels=0)),
            not_webp,
        )
    return tf.ensure_shape(image, [None, None, 3])


def _three_channels(image: tf.Tensor) -> tf.Tensor:
    """First frame, RGB: grey is repeated, alpha is dropped; `[h, w, 3]`."""
    shape = tf.shape(image)
    image = tf.reshape(image, tf.concat([[-1], shape[-3:]], 0))[0]
    return tf.gather(image, tf.minimum([0, 1, 2], shape[-1] - 1), axis=-1)


def resize(
    image: tf.Tensor,
    height: int | tf.Tensor,
    width: int | tf.Tensor,
    method: str,
    antialias: bool,
) -> tf.Tensor:
    """Resizes `[h, w, 3]` (any dtype) to float32 `[height, width, 3]`, not clipped."""
    if method == "bicubic" and not antialias:
        # The raw operation reads uint8 as it is; tf.image.resize would do the same.
        return tf.raw_ops.ResizeBicubic(
            images=image[None], size=[height, width], half_pixel_centers=True
        )[0]
    if method == "bilinear" and antialias:
        shape = tf.cast(tf.shape(image)[:2], tf.float32)
        return tf.raw_ops.ScaleAndTranslate(
            images=image[None],
            size=[height, width],
            scale=tf.cast([height, width], tf.float32) / shape,
            translation=[0.0, 0.0],
            kernel_type="triangle",
            antialias=True,
        )[0]
    return tf.image.resize(image, [height, width], method, antialias=antialias)


def _to_uint8(image: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.clip_by_value(tf.round(image), 0.0, 255.0), tf.uint8)


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
    out = _to_uint8(
        resize(crop, size, size, view.resize, antialias=view.resize == "bilinear")
    )
    if view.flip:
        # `Reverse` takes the axes as a tensor of booleans, so no branch is needed.
        dims = tf.stack([False, cut.mirrored, False])
        out = tf.raw_ops.Reverse(tensor=out, dims=dims)
    return tf.ensure_shape(out, [size, size, 3])


def show(image: tf.Tensor, cuts: list[Cut], recipe: Recipe, size: int) -> tf.Tensor:
    """The views that were drawn.

    Args:
      image: uint8 `[h, w, 3]`.
      cuts: Of `draw`.
      recipe: That of the cuts.
      size: Side S of the views.

    Returns:
      uint8 `[V, S, S, 3]`.
    """
    if recipe.shared_crop:
        view = _shown(image, cuts[0], recipe.views[0], size)
        return tf.stack([view] * len(cuts))
    pairs = zip(cuts, recipe.views, strict=True)
    return tf.stack([_shown(image, cut, view, size) for cut, view in pairs])


def show_jpeg(
    data: tf.Tensor,
    shape: tf.Tensor,
    cuts: list[Cut],
    recipe: Recipe,
    size: int,
) -> tf.Tensor:
    """`show` of a JPEG that is decoded no further than the views reach; equal bits.

    Args:
      data: string scalar, a JPEG's bytes.
      shape: int32 `[2]` or more, its height and width first.
      cuts: Of `draw`.
      recipe: That of the cuts.
      size: Side S of the views.

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
    return show(image, moved, recipe, size)


def views(image: tf.Tensor, recipe: Recipe, seed: tf.Tensor, size: int) -> tf.Tensor:
    """All views of an image, drawn independently from one decoded image.

    Args:
      image: uint8 `[h, w, 3]`.
      recipe: One entry of `recipe.views` per view; one crop with `shared_crop`.
      seed: int64 `[2]`, identifies the example's row at this step.
      size: Side of the views.

    Returns:
      uint8 `[V, size, size, 3]`.
    """
    shape = tf.shape(image)
    return show(image, draw(recipe, seed, shape[0], shape[1]), recipe, size)


def eval_image(image: tf.Tensor, transform: EvalTransform, size: int) -> tf.Tensor:
    """Centre crop and resize without any chance; not normalised.

    Up to 32 pixels nothing is cut away, and an image that already is size x size
    comes out as it is (CIFAR; SimCLR tf2/data_util.py).

    Args:
      image: uint8 `[h, w, 3]`, or float `[h, w, 3]` in [0, 1].
      transform: One of `EVAL_TRANSFORMS`.
      size: Side of the result.

    Returns:
      float32 `[size, size, 3]` in [0, 1]. Multiples of 1/255 if
      `transform.antialias`, because PIL's results are bytes.
    """
    if image.dtype != tf.uint8:
        image = tf.cast(image, tf.float32) * 255.0
    fraction = transform.crop_fraction if size > 32 else 1.0
    shape = tf.shape(image)
    if transform.resize_first:
        out = _resize_then_crop(image, transform, shape, round(size / fraction), size)
    else:
        short = tf.cast(tf.minimum(shape[0], shape[1]), tf.float32) * fraction
        side = tf.floor(short) if transform.rounding == "down" else tf.round(short)
        side = tf.maximum(tf.cast(side, tf.int32), 1)
        # Offsets round up, in SimCLR and BYOL alike.
        y, x = (shape[0] - side + 1) // 2, (shape[1] - side + 1) // 2
        crop = tf.slice(image, tf.stack([y, x, 0]), tf.stack([side, side, 3]))
        out = resize(crop, size, size, transform.resize, transform.antialias)
    if transform.antialias:
        out = tf.round(out)
    out = tf.clip_by_value(out * (1.0 / 255.0), 0.0, 1.0)
    return tf.ensure_shape(out, [size, size, 3])


def _resize_then_crop(
    image: tf.Tensor,
    transform: EvalTransform,
    shape: tf.Tensor,
    target: int,
    size: int,
) -> tf.Tensor:
    """As torchvision: `Resize(target)` of the shorter side, `CenterCrop(size)`."""
    short = tf.minimum(shape[0], shape[1])
    # The longer side is cut down, the offset rounded half to even: torchvision.
    new = target * shape[:2] // short
    out = resize(image, new[0], new[1], transform.resize, transform.antialias)
    begin = tf.cast(tf.round(tf.cast(new - size, tf.float32) / 2.0), tf.int32)
    return tf.slice(out, tf.concat([begin, [0]], 0), [size, size, 3])
