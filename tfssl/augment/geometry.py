"""Resizes one image on the host; prepares what evaluation looks at."""

from __future__ import annotations

import tensorflow as tf

from tfssl.augment.recipes import EvalTransform

_MANY = 2**24  # numbers in an image of which no copy in floats is made
_CONSTANT = 2**26  # bytes that an intermediate may take whatever the image


def resize(
    image: tf.Tensor,
    height: int | tf.Tensor,
    width: int | tf.Tensor,
    method: str,
    antialias: bool,
) -> tf.Tensor:
    """Resizes `[h, w, 3]` (any dtype) to float32 `[height, width, 3]`, not clipped."""
    if method == "bicubic" and not antialias:
        # Floats from the start: the operation converts a byte once for every tap. Of a
        # large image it takes but few pixels, and floats are four times its memory.
        return tf.cond(
            tf.size(image) <= _MANY,
            lambda: _bicubic(tf.cast(image, tf.float32), height, width),
            lambda: _bicubic(image, height, width),
        )
    if method == "bilinear" and antialias:
        return antialiased_window(image, height, width, 0, 0, height, width)
    return tf.image.resize(image, [height, width], method, antialias=antialias)


def _bicubic(
    image: tf.Tensor, height: int | tf.Tensor, width: int | tf.Tensor
) -> tf.Tensor:
    return tf.raw_ops.ResizeBicubic(
        images=image[None], size=[height, width], half_pixel_centers=True
    )[0]


def antialiased_window(
    image: tf.Tensor,
    height: int | tf.Tensor,
    width: int | tf.Tensor,
    top: int | tf.Tensor,
    left: int | tf.Tensor,
    rows: int | tf.Tensor,
    columns: int | tf.Tensor,
) -> tf.Tensor:
    """Computes a window of `antialiased`, in memory that no shape of image can exceed.

    Resizing first would make of 12000 x 3 pixels, enlarged to 1024000 x 256, an
    intermediate of gigabytes. Where that is large beside the image, the window's pixels
    are summed one tap at a time, in the operation's own order and precision: the same
    bits. Other images take the operation.

    Args:
      image: `[h, w, C]` of any dtype, C static.
      height: Rows of the whole result.
      width: Columns of the whole result.
      top: First row of the window.
      left: First column of the window.
      rows: Rows of the window.
      columns: Columns of the window.

    Returns:
      float32 `[rows, columns, C]`.
    """
    shape = tf.shape(image, tf.int64)
    height, width = (tf.cast(side, tf.int64) for side in (height, width))
    longest = tf.maximum(shape[1], width) * height
    few = 24 * longest <= _CONSTANT + 8 * shape[0] * shape[1]

    def whole() -> tf.Tensor:
        out = antialiased(image, tf.cast(height, tf.int32), tf.cast(width, tf.int32))
        return out[top : top + rows, left : left + columns]

    def window() -> tf.Tensor:
        down, down_weights = _taps(shape[0], height, top, rows)
        right, right_weights = _taps(shape[1], width, left, columns)
        pixels = tf.reshape(image, [-1, image.shape[-1]])
        nothing = tf.zeros([rows, columns, image.shape[-1]])

        def added_column(total: tf.Tensor, column: tuple) -> tf.Tensor:
            across, share = column

            def added_row(part: tf.Tensor, row: tuple) -> tf.Tensor:
                place, weight = row
                found = tf.gather(pixels, place[:, None] * shape[1] + across)
                return part + weight[:, None, None] * tf.cast(found, tf.float32)

            part = tf.foldl(added_row, (down, down_weights), nothing, 1)
            return total + share[:, None] * part

        return tf.foldl(added_column, (right, right_weights), nothing, 1)

    return tf.cond(few, whole, window)


def _taps(
    count: tf.Tensor, size: tf.Tensor, first: tf.Tensor, number: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Which pixels of `count` make up `number` of `size` from the first on: how much.

    Returns:
      int64 and float32 `[taps, number]`, as `ScaleAndTranslate` has them.
    """
    step = _inverse(tf.cast(size, tf.float32) / tf.cast(count, tf.float32))
    reach = tf.maximum(step, 1.0)
    shown = tf.cast(first, tf.int64) + tf.range(tf.cast(number, tf.int64))
    place = (tf.cast(shown, tf.float32) + 0.5) * step
    begin = tf.cast(tf.math.ceil(place - reach - 0.5), tf.int64)
    end = tf.cast(tf.floor(place + reach - 0.5), tf.int64)
    begin, end = (tf.clip_by_value(x, 0, count - 1) for x in (begin, end))
    pixels = begin + tf.range(tf.reduce_max(end - begin) + 1)[:, None]
    distance = tf.abs((tf.cast(pixels, tf.float32) + 0.5 - place) * _inverse(reach))
    weights = tf.where(pixels <= end, tf.maximum(1.0 - distance, 0.0), 0.0)
    total = tf.foldl(tf.add, weights, tf.zeros_like(place), 1)
    return tf.minimum(pixels, count - 1), weights * _inverse(total)


def _inverse(value: tf.Tensor) -> tf.Tensor:
    """1 / value in float32, which the graph's optimiser does not merge with others."""
    return tf.cast(1.0 / tf.cast(value, tf.float64), tf.float32)


def antialiased(
    image: tf.Tensor, height: int | tf.Tensor, width: int | tf.Tensor
) -> tf.Tensor:
    """Resizes by a triangle as wide as two pixels of the larger grid (PIL's bilinear).

    An axis at a time: TensorFlow's `ScaleAndTranslate` adds whole rows to whole rows
    along the vertical axis, but goes pixel by pixel along the horizontal one. So both
    are made vertical, with a transposition after each: the same bits, much sooner.

    Args:
      image: `[h, w, C]` of any dtype, C static.
      height: Rows of the result.
      width: Columns of the result.

    Returns:
      float32 `[height, width, C]`, as of `tf.image.resize(..., antialias=True)`.
    """
    channels = image.shape[-1]
    shape = tf.shape(image)
    rows = tf.reshape(image, tf.stack([shape[0], shape[1] * channels]))
    columns = tf.transpose(_resize_rows(rows, shape[0], height))
    columns = tf.reshape(columns, tf.stack([shape[1], channels * height]))
    columns = _resize_rows(columns, shape[1], width)
    rows = tf.transpose(tf.reshape(columns, tf.stack([width * channels, height])))
    return tf.reshape(rows, tf.stack([height, width, channels]))


def _resize_rows(rows: tf.Tensor, count: tf.Tensor, size: int | tf.Tensor) -> tf.Tensor:
    """Resizes `[count, n]` to float32 `[size, n]`: n channels of one column."""
    scale = tf.cast(size, tf.float32) / tf.cast(count, tf.float32)
    out = tf.raw_ops.ScaleAndTranslate(
        images=rows[None, :, None],
        size=tf.stack([size, 1]),
        scale=tf.stack([scale, 1.0]),
        translation=[0.0, 0.0],
        kernel_type="triangle",
        antialias=True,
    )
    return tf.reshape(out, tf.stack([size, tf.shape(rows)[1]]))


def eval_image(image: tf.Tensor, transform: EvalTransform, size: int) -> tf.Tensor:
    """Cuts the centre and resizes, without any chance.

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
    """Does torchvision's `Resize` of the shorter side and `CenterCrop(size)`."""
    short = tf.minimum(shape[0], shape[1])
    # The longer side is cut down, the offset rounded half to even: torchvision.
    new = target * tf.cast(shape[:2], tf.int64) // tf.cast(short, tf.int64)
    begin = tf.cast(tf.round(tf.cast(new - size, tf.float32) / 2.0), tf.int64)
    if transform.resize == "bilinear" and transform.antialias:
        return antialiased_window(image, new[0], new[1], begin[0], begin[1], size, size)
    out = resize(image, new[0], new[1], transform.resize, transform.antialias)
    return tf.slice(out, tf.concat([begin, [0]], 0), [size, size, 3])
