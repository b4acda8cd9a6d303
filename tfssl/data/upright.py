"""Turns pictures upright by their EXIF orientation, inside a graph, serving included.

Cameras write pixels as their sensor lies, and which way is up beside them. JPEG keeps
that in an APP1 segment, PNG in a chunk `eXIf`, WebP in a chunk `EXIF`: a small TIFF
whose entry 0x0112 is a number from 1 (upright) to 8 (CIPA DC-008, 4.6.4).
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import tensorflow as tf

_LONGEST = 20_000  # segments or chunks that are looked at
_TAG = 0x0112


def orientation(data: tf.Tensor) -> tf.Tensor:
    """Reads how an image file is to be turned.

    Args:
      data: string scalar, the file's bytes.

    Returns:
      int32 scalar, 1 to 8; 1 where the file says nothing, or nothing that makes sense.
    """
    first = tf.strings.substr(tf.strings.join([data, b"\0" * 12]), 0, 12)
    jpeg = tf.equal(tf.strings.substr(first, 0, 2), b"\xff\xd8")
    png = tf.equal(tf.strings.substr(first, 0, 4), b"\x89PNG")
    webp = tf.equal(tf.strings.substr(first, 8, 4), b"WEBP")
    kind = tf.where(jpeg, 0, tf.where(png, 1, tf.where(webp, 2, 3)))
    start = tf.switch_case(
        kind,
        [
            lambda: _walk(data, 2, _segment),
            lambda: _walk(data, 8, _png_chunk),
            lambda: _walk(data, 12, _webp_chunk),
            lambda: tf.constant(-1, tf.int64),
        ],
    )
    upright_way = tf.constant(1)
    return tf.cond(start < 0, lambda: upright_way, lambda: _entry(data, start))


def turn(image: tf.Tensor, way: tf.Tensor) -> tf.Tensor:
    """Turns an image `[h, w, 3]` whose EXIF orientation is `way`, int32 in [1, 8]."""
    lies = way >= 5
    mirrored = tf.reduce_any(tf.equal(way, [2, 3, 6, 7]))
    overhead = tf.reduce_any(tf.equal(way, [3, 4, 7, 8]))

    def turned() -> tf.Tensor:
        stands = tf.cond(lies, lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
        return tf.raw_ops.Reverse(
            tensor=stands, dims=tf.stack([overhead, mirrored, False])
        )

    return tf.cond(way > 1, turned, lambda: image)


def marked(jpeg: bytes, way: int) -> bytes:
    """A JPEG without EXIF, with an orientation written into it unless it is upright."""
    if way == 1:
        return jpeg
    entry = struct.pack("<HHIHH", _TAG, 3, 1, way, 0)
    content = b"Exif\0\0II" + struct.pack("<HIH", 42, 8, 1) + entry + bytes(4)
    segment = b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content
    # Behind JFIF's own segment, which comes first.
    place = 4 + int.from_bytes(jpeg[4:6], "big") if jpeg[2:4] == b"\xff\xe0" else 2
    return jpeg[:place] + segment + jpeg[place:]


def bytes_at(data: tf.Tensor, place: tf.Tensor, count: int) -> tf.Tensor:
    """int64 `[count]`: the bytes from a place on, zeros behind the end."""
    place = tf.minimum(place, tf.cast(tf.strings.length(data), tf.int64))
    part = tf.strings.substr(data, place, tf.constant(count, tf.int64))
    padded = tf.strings.join([part, b"\0" * count])
    raw = tf.io.decode_raw(tf.strings.substr(padded, 0, count), tf.uint8)
    return tf.cast(tf.ensure_shape(raw, [count]), tf.int64)


def number(found: tf.Tensor, big_endian: bool | tf.Tensor = False) -> tf.Tensor:
    """The integer of bytes `[..., n]`, int64 `[...]`."""
    count = found.shape[-1]
    powers = tf.constant([256**n for n in range(count)], tf.int64)
    if isinstance(big_endian, bool):
        return tf.reduce_sum(found * (powers[::-1] if big_endian else powers), -1)
    powers = tf.where(big_endian, powers[::-1], powers)
    return tf.reduce_sum(found * powers, -1)


Step = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor, tf.Tensor]]


def _walk(data: tf.Tensor, start: int, step: Step) -> tf.Tensor:
    """Where the TIFF of the first block with EXIF begins, int64; -1 without one."""
    length = tf.cast(tf.strings.length(data), tf.int64)

    def goes_on(place: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
        return (place < length) & (found < 0)

    def body(place: tf.Tensor, found: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        size, is_exif, last = step(bytes_at(data, place, 16))
        inside = place + (10 if start == 2 else 8)
        return (
            tf.where(last, length, place + tf.maximum(size, 1)),
            tf.where(is_exif & ~last, inside, found),
        )

    none = tf.constant(-1, tf.int64)
    state = (tf.constant(start, tf.int64), none)
    return tf.while_loop(goes_on, body, state, maximum_iterations=_LONGEST)[1]


def _is(found: tf.Tensor, text: bytes) -> tf.Tensor:
    return tf.reduce_all(tf.equal(found, list(text)))


def _segment(found: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Of a JPEG: how long it is, whether it holds EXIF, whether it is the last."""
    is_exif = tf.equal(found[1], 0xE1) & _is(found[4:10], b"Exif\0\0")
    # 0xff may be repeated in front of a mark.
    long = 2 + number(found[2:4], True)
    size = tf.where(tf.equal(found[1], 255), tf.ones_like(long), long)
    last = tf.not_equal(found[0], 255) | tf.reduce_any(tf.equal(found[1], [0xDA, 0xD9]))
    return size, is_exif, last


def _png_chunk(found: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    size = 12 + number(found[:4], True)
    return size, _is(found[4:8], b"eXIf"), _is(found[4:8], b"IEND")


def _webp_chunk(found: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    size = number(found[4:8])
    return 8 + size + size % 2, _is(found[:4], b"EXIF"), tf.constant(False)


def _entry(data: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
    """The orientation in the TIFF that begins at a place."""
    # Some write the JPEG's introduction before it, wherever it stands.
    introduced = _is(bytes_at(data, start, 6), b"Exif\0\0")
    start += tf.where(introduced, tf.constant(6, tf.int64), 0)
    head = bytes_at(data, start, 8)
    big = _is(head[:2], b"MM")
    table = start + number(head[4:8], big)
    count = number(bytes_at(data, table, 2), big)
    rows = tf.strings.substr(
        data,
        tf.minimum(table + 2, tf.cast(tf.strings.length(data), tf.int64)),
        12 * tf.minimum(count, 1000),
    )
    raw = tf.cast(tf.io.decode_raw(rows, tf.uint8), tf.int64)
    entries = tf.reshape(raw[: tf.size(raw) // 12 * 12], [-1, 12])
    own = tf.boolean_mask(entries, tf.equal(number(entries[:, :2], big), _TAG))
    wide = tf.equal(number(own[:, 2:4], big), 4)  # a number of four bytes
    values = tf.where(wide, number(own[:, 8:12], big), number(own[:, 8:10], big))
    value = tf.reduce_max(tf.concat([values[:1], [1]], 0))
    sound = (big | _is(head[:2], b"II")) & (value <= 8)
    return tf.cast(tf.where(sound, value, tf.ones_like(value)), tf.int32)
