"""Geometry of images with boxes or masks: scale, crop or pad, flip, moved together.

As `crops` has it, a view is drawn first, as numbers (`draw`, or `fitted` without any
chance), and then made: `moved_image`, `moved_boxes` and `moved_mask` do the same thing
to pixels, boxes and classes of pixels. Pixels pass the resizer of `geometry`; a mask
takes its nearest pixel and mixes none. The result has one static shape, the canvas: a
larger image is cropped to it, a smaller one stands in its upper left corner.

Boxes are y0, x0, y1, x1 in pixels, ends exclusive: the whole image is 0, 0, h, w.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import tensorflow as tf

from tfssl.augment import boxes as crop_boxes
from tfssl.augment import crops, geometry
from tfssl.errors import ConfigError, message

IGNORED = 255
"""The class of pixels that belong to no class, and of those beside the image."""

FILL = (124, 116, 104)
"""What stands beside an image: ImageNet's mean, which normalises to 0 (detectron2)."""


@dataclasses.dataclass(frozen=True)
class DenseView:
    """Numbers by which a view with boxes or masks is drawn.

    Attributes:
      shorter: Bounds of the image's shorter side after resizing, in pixels.
      step: Only sides `shorter[0] + k * step` are drawn (detectron2: 32).
      longest: The longer side is at most this; the shorter one gives way. 0: any.
      flip: Probability of a horizontal flip.
      visible: Share of a box's area that must be on the canvas, or the box is dropped.
    """

    shorter: tuple[int, int]
    step: int = 1
    longest: int = 0
    flip: float = 0.5
    visible: float = 0.25

    def __post_init__(self) -> None:
        """Refuses numbers that no image could be drawn by."""
        low, high = self.shorter
        problems = []
        if not 1 <= low <= high:
            problems.append(
                message(
                    f"shorter={low},{high}", "1 <= low <= high", "shorter=(480, 800)"
                )
            )
        if self.step < 1 or self.longest < 0:
            got = f"step={self.step}, longest={self.longest}"
            problems.append(
                message(got, "step >= 1, longest >= 0", "step=1, longest=0")
            )
        for name in ("flip", "visible"):
            if not 0 <= (value := getattr(self, name)) <= 1:
                problems.append(message(f"{name}={value}", "in [0, 1]", f"{name}=0.5"))
        if problems:
            raise ConfigError(problems)


class Cut(NamedTuple):
    """One view: resize to `height` x `width`, of that a window, perhaps mirrored.

    Attributes:
      source: int32 `[2]`, height and width of the image that it is a view of.
      height: int32 scalar, rows of the whole image once it is resized.
      width: int32 scalar.
      top: int32 scalar, first row of the window.
      left: int32 scalar.
      rows: int32 scalar, of the window, at most the canvas's; likewise `columns`.
      columns: int32 scalar.
      mirrored: bool scalar.
    """

    source: tf.Tensor
    height: tf.Tensor
    width: tf.Tensor
    top: tf.Tensor
    left: tf.Tensor
    rows: tf.Tensor
    columns: tf.Tensor
    mirrored: tf.Tensor


def draw(
    view: DenseView,
    seed: tf.Tensor,
    height: tf.Tensor,
    width: tf.Tensor,
    canvas: tuple[int, int],
) -> Cut:
    """Draws a view: the shorter side, then where the window lies, then the flip.

    Args:
      view: Numbers of the law.
      seed: int64 `[2]`, identifies the example's row at this step.
      height: int32 scalar, the image's.
      width: int32 scalar.
      canvas: Rows and columns of the result.
    """
    u = crop_boxes.host_uniform([4], seed)
    low, high = view.shorter
    count = (high - low) // view.step + 1
    shorter = low + view.step * _below(u[0], tf.constant(count))
    scale = shorter / tf.minimum(height, width)
    if view.longest:
        scale = tf.minimum(scale, view.longest / tf.maximum(height, width))
    tall, wide = _scaled(height, scale), _scaled(width, scale)
    rows, columns = tf.minimum(tall, canvas[0]), tf.minimum(wide, canvas[1])
    return Cut(
        tf.stack([height, width]),
        tall,
        wide,
        _below(u[1], tall - rows + 1),
        _below(u[2], wide - columns + 1),
        rows,
        columns,
        u[3] < view.flip,
    )


def fitted(height: tf.Tensor, width: tf.Tensor, canvas: tuple[int, int]) -> Cut:
    """The whole image, as large as the canvas holds; arguments as of `draw`."""
    scale = tf.minimum(canvas[0] / height, canvas[1] / width)
    # A rounded side may not leave the canvas by a pixel.
    tall = tf.minimum(_scaled(height, scale), canvas[0])
    wide = tf.minimum(_scaled(width, scale), canvas[1])
    zero = tf.constant(0)
    source = tf.stack([height, width])
    return Cut(source, tall, wide, zero, zero, tall, wide, tf.constant(False))


def moved_image(image: tf.Tensor, cut: Cut, canvas: tuple[int, int]) -> tf.Tensor:
    """Makes the view: uint8 `[h, w, 3]` to uint8 `[*canvas, 3]`; `FILL` beside it."""
    window = geometry.antialiased_window(image, *cut[1:7])
    view = crops.flipped(crops.to_uint8(window), cut.mirrored)
    fill = tf.broadcast_to(tf.constant(FILL, tf.uint8), [*canvas, 3])
    return _placed(view, fill, cut)


def whole_image(image: tf.Tensor, canvas: tuple[int, int]) -> tuple[tf.Tensor, Cut]:
    """Shows a whole image as `fitted` has it: what is scored, and what is served.

    Args:
      image: uint8 `[h, w, 3]`.
      canvas: Rows and columns of the result.

    Returns:
      (float32 `[*canvas, 3]` in [0, 1]; the view's numbers)
    """
    shape = tf.shape(image)
    cut = fitted(shape[0], shape[1], canvas)
    shown = tf.cast(moved_image(image, cut, canvas), tf.float32)
    return shown * (1.0 / 255.0), cut


def moved_mask(
    mask: tf.Tensor, cut: Cut, canvas: tuple[int, int], beside: int = IGNORED
) -> tf.Tensor:
    """Moves classes of pixels: each pixel has the class of the nearest one.

    Row i of the window is row `floor((top + i + 1/2) h / height)` of the mask, in
    integers, and likewise its columns.

    Args:
      mask: Integers `[h, w, 1]`, of the image's size.
      cut: Of the image.
      canvas: Rows and columns of the result.
      beside: What stands where there is no image.

    Returns:
      The mask's type, `[*canvas, 1]`.
    """
    down = _nearest(cut.top, cut.rows, cut.source[0], cut.height)
    right = _nearest(cut.left, cut.columns, cut.source[1], cut.width)
    window = tf.gather(tf.gather(mask, down, axis=0), right, axis=1)
    fill = tf.fill([*canvas, 1], tf.cast(beside, mask.dtype))
    return _placed(crops.flipped(window, cut.mirrored), fill, cut)


def moved_boxes(
    boxes: tf.Tensor, cut: Cut, visible: float = 0.0
) -> tuple[tf.Tensor, tf.Tensor]:
    """Moves boxes, and clips them to the window.

    A box is kept where its clipped area is more than 0 and at least `visible` of its
    area: one that leaves the view is dropped, one that is cut by its border is clipped.

    Args:
      boxes: float32 `[n, 4]` in pixels of the image.
      cut: Of the image.
      visible: See `DenseView`.

    Returns:
      (float32 `[n, 4]` in pixels of the canvas, zeros where dropped; bool `[n]`: kept)
    """
    size = tf.cast(tf.stack([cut.height, cut.width]), tf.float32)
    scale = size / tf.cast(cut.source, tf.float32)
    begin = tf.cast(tf.stack([cut.top, cut.left]), tf.float32)
    window = tf.cast(tf.stack([cut.rows, cut.columns]), tf.float32)
    corners = tf.reshape(boxes, [-1, 2, 2]) * scale - begin
    y, x = corners[..., 0], corners[..., 1]
    x = tf.cond(cut.mirrored, lambda: window[1] - x[:, ::-1], lambda: x)
    moved = tf.stack([y, x], -1)
    clipped = tf.clip_by_value(moved, 0.0, window)
    area, left = (tf.reduce_prod(c[:, 1] - c[:, 0], -1) for c in (moved, clipped))
    kept = tf.reduce_all(clipped[:, 1] > clipped[:, 0], -1) & (left >= visible * area)
    flat = tf.reshape(clipped, [-1, 4])
    return tf.where(kept[:, None], flat, 0.0), kept


def restored_boxes(boxes: tf.Tensor, source: tf.Tensor, shown: tf.Tensor) -> tf.Tensor:
    """Moves boxes of `fitted` views back into their images, and clips them.

    Args:
      boxes: float32 `[..., n, 4]` in pixels of the canvas.
      source: int32 `[..., 2]`, height and width of the images.
      shown: int32 `[..., 2]`, those that they have on the canvas.

    Returns:
      float32 `[..., n, 4]` in pixels of the images.
    """
    source, shown = (tf.cast(size, tf.float32) for size in (source, shown))
    limits = tf.concat([source, source], -1)[..., None, :]
    scale = tf.concat([source / shown] * 2, -1)[..., None, :]
    return tf.clip_by_value(boxes * scale, 0.0, limits)


def _scaled(side: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """The nearest whole number to `side * scale`, halves up, at least 1."""
    return tf.maximum(tf.cast(tf.cast(side, tf.float64) * scale + 0.5, tf.int32), 1)


def _below(uniform: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """An integer in [0, count) from a number in [0, 1)."""
    found = tf.cast(uniform * tf.cast(count, tf.float32), tf.int32)
    return tf.minimum(found, count - 1)


def _nearest(
    first: tf.Tensor, number: tf.Tensor, count: tf.Tensor, size: tf.Tensor
) -> tf.Tensor:
    """Which of `count` pixels are nearest to `number` of `size`, from `first` on."""
    first, number, count, size = (
        tf.cast(x, tf.int64) for x in (first, number, count, size)
    )
    return (2 * (first + tf.range(number)) + 1) * count // (2 * size)


def _placed(view: tf.Tensor, fill: tf.Tensor, cut: Cut) -> tf.Tensor:
    """Puts a view into the upper left corner of what stands beside it."""
    right = tf.concat([view, fill[: cut.rows, cut.columns :]], 1)
    whole = tf.concat([right, fill[cut.rows :]], 0)
    return tf.ensure_shape(whole, fill.shape)
