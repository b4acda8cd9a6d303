"""Decodes and resizes one image on the host; prepares what evaluation looks at."""

from __future__ import annotations

import tensorflow as tf

from tfssl.augment.recipes import EvalTransform

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
    """Returns the first frame as RGB `[h, w, 3]`: grey repeated, alpha dropped."""
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
        # Floats from the start: the operation converts a byte once for every tap.
        return tf.raw_ops.ResizeBicubic(
            images=tf.cast(image, tf.float32)[None],
            size=[height, width],
            half_pixel_centers=True,
        )[0]
    if method == "bilinear" and antialias:
        return antialiased(image, height, width)
    return tf.image.resize(image, [height, width], method, antialias=antialias)


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
    new = target * shape[:2] // short
    out = resize(image, new[0], new[1], transform.resize, transform.antialias)
    begin = tf.cast(tf.round(tf.cast(new - size, tf.float32) / 2.0), tf.int32)
    return tf.slice(out, tf.concat([begin, [0]], 0), [size, size, 3])
