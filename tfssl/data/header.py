"""Reads an image's size from its first bytes, so that a bomb is never unpacked.

A file of a few kilobytes can declare 20000 x 20000 pixels, and a decoder then asks
for a gigabyte before it notices that the pixels are missing. Byte positions: JPEG
(ITU T.81) by libjpeg's own header reader; PNG (ISO 15948, IHDR), GIF89a (logical
screen), BMP (BITMAPINFOHEADER, and OS/2's 16-bit BITMAPCOREHEADER), WebP (RFC 9649).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

MAX_PIXELS = 100_000_000
_HEAD = 32  # bytes that hold the size in every format but JPEG


class _Field(NamedTuple):
    """A number in the header: `bytes >> shift`, its lowest `bits`, `+ plus`."""

    start: int
    count: int
    big_endian: bool = False
    shift: int = 0
    bits: int = 32
    plus: int = 0


# Bytes that tell the format, then width and height; the first that fits counts.
_FORMATS: tuple[tuple[dict[int, bytes], _Field, _Field], ...] = (
    ({0: b"\x89PNG"}, _Field(16, 4, True), _Field(20, 4, True)),
    ({0: b"GIF8"}, _Field(6, 2), _Field(8, 2)),
    ({0: b"BM", 14: b"\x0c\0\0\0"}, _Field(18, 2), _Field(20, 2)),
    ({0: b"BM"}, _Field(18, 4), _Field(22, 4)),
    (
        {0: b"RIFF", 8: b"WEBPVP8X"},
        _Field(24, 3, plus=1),
        _Field(27, 3, plus=1),
    ),
    ({0: b"RIFF", 8: b"WEBPVP8 "}, _Field(26, 2, bits=14), _Field(28, 2, bits=14)),
    (
        {0: b"RIFF", 8: b"WEBPVP8L"},
        _Field(21, 4, bits=14, plus=1),
        _Field(21, 4, shift=14, bits=14, plus=1),
    ),
)


def pixel_count(data: tf.Tensor) -> tf.Tensor:
    """Width times height as the header declares it.

    Args:
      data: string scalar, the file's bytes.

    Returns:
      int64 scalar; 0 where the bytes are none of the known formats.

    Raises:
      tf.errors.InvalidArgumentError: When run, if a JPEG's header is damaged.
    """
    head = tf.strings.join([tf.strings.substr(data, 0, _HEAD), "\0" * _HEAD])

    def jpeg() -> tf.Tensor:
        shape = tf.io.extract_jpeg_shape(data, output_type=tf.int32)
        return tf.reduce_prod(tf.cast(shape[:2], tf.int64))

    is_jpeg = tf.equal(tf.strings.substr(head, 0, 3), b"\xff\xd8\xff")
    return tf.cond(is_jpeg, jpeg, lambda: _fixed_places(head))


# Nothing here has control flow on tensors; converting it all the same is slow.
@tf.autograph.experimental.do_not_convert
def within(data: tf.Tensor, max_pixels: int) -> tf.Tensor:
    """The bytes themselves, once the header has passed the limit.

    Args:
      data: string scalar, the file's bytes.
      max_pixels: Most pixels that may be decoded; 0: anything may.

    Returns:
      `data`.

    Raises:
      tf.errors.InvalidArgumentError: When run, if the header declares more, or is of
        no known format, so that nobody knows what it declares.
    """
    if not max_pixels:
        return data
    pixels = pixel_count(data)
    passes = (pixels > 0) & (pixels <= max_pixels)
    check = tf.debugging.Assert(passes, [f"header, {max_pixels=}", pixels])
    with tf.control_dependencies([] if check is None else [check]):
        return tf.identity(data)


def whole_jpeg(data: tf.Tensor, max_pixels: int) -> tuple[tf.Tensor, tf.Tensor]:
    """As `within`, without a branch; whatever is no whole JPEG is an error too.

    A JPEG that was cut short lacks the mark at its end, so that no part of it may be
    decoded as if nothing were wrong. (What has other bytes after the mark is refused
    here too, though a decoder would take it.)

    Returns:
      (`data`, its int32 `[3]` height, width, channels).
    """
    shape = tf.io.extract_jpeg_shape(data, output_type=tf.int32)
    pixels = tf.reduce_prod(tf.cast(shape[:2], tf.int64))
    ends = tf.equal(tf.strings.substr(data, -2, 2), b"\xff\xd9")
    # The raw operation: tf.debugging.Assert makes a branch of it.
    check = tf.raw_ops.Assert(
        condition=ends & (pixels <= (max_pixels or tf.int64.max)),
        data=[f"end of image, header, {max_pixels=}", pixels],
    )
    with tf.control_dependencies([check]):
        return tf.identity(data), shape


def refusal(data: bytes, max_pixels: int) -> str:
    """Why `within` refuses these bytes, in words; "" if it does not."""
    if not max_pixels:
        return ""
    try:
        pixels = int(pixel_count(tf.constant(data)))
    except tf.errors.OpError as error:
        return error.message.split("\n")[0]
    if not pixels:
        return "no image of a known format"
    if pixels > max_pixels:
        return f"declares {pixels} pixels, more than max_image_pixels={max_pixels}"
    return ""


def _fixed_places(head: tf.Tensor) -> tf.Tensor:
    """The product for the formats whose size stands at a fixed place."""
    magic, weights, divisor, modulus, plus = _tables()
    raw = tf.io.decode_raw(tf.strings.substr(head, 0, _HEAD), tf.uint8)
    byte = tf.cast(tf.ensure_shape(raw, [_HEAD]), tf.int64)
    matches = tf.reduce_all((magic < 0) | (magic == byte), axis=-1)
    sides = tf.reduce_sum(weights * byte, axis=-1) // divisor % modulus + plus
    # A BMP's negative height says that its rows run downwards.
    pixels = tf.reduce_prod(tf.minimum(sides, 2**32 - sides), axis=-1)
    first = tf.argmax(tf.cast(matches, tf.int32))
    return tf.where(tf.reduce_any(matches), pixels[first], 0)


def _tables() -> tuple[np.ndarray, ...]:
    """`_FORMATS` as arrays.

    Returns:
      Magic bytes `[formats, 32]` (-1: any); weights of the bytes
      `[formats, 2, 32]`; divisor, modulus and summand `[formats, 2]`; all int64.
    """
    magic = np.full([len(_FORMATS), _HEAD], -1, np.int64)
    weights = np.zeros([len(_FORMATS), 2, _HEAD], np.int64)
    divisor, modulus, plus = np.zeros([3, len(_FORMATS), 2], np.int64)
    for row, (texts, *fields) in enumerate(_FORMATS):
        for start, text in texts.items():
            magic[row, start : start + len(text)] = list(text)
        for side, field in enumerate(fields):
            powers = 256 ** np.arange(field.count)
            span = slice(field.start, field.start + field.count)
            weights[row, side, span] = powers[::-1] if field.big_endian else powers
            divisor[row, side] = 2**field.shift
            modulus[row, side] = 2**field.bits
            plus[row, side] = field.plus
    return magic, weights, divisor, modulus, plus
