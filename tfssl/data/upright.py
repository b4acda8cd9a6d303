"""Turns pictures upright by their EXIF orientation, inside a graph, serving included.

Cameras write pixels as their sensor lies, and which way is up beside them. JPEG keeps
that in an APP1 segment, PNG in a chunk `eXIf`, WebP in a chunk `EXIF`: a small TIFF
whose entry 0x0112 is a number from 1 (upright) to 8 (CIPA DC-008, 4.6.4). Where that
says nothing, XMP may: a text in the same places in which `tiff:Orientation` is the
number. Pillow's `ImageOps.exif_transpose` reads both, in this order. What it reads and
this does not: PNG's compressed texts, which XMP may not be (XMP part 3, 1.1.5), and the
hexadecimal ones of old ImageMagicks.
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
    nothing = tf.constant([-1, 0, 0], tf.int64)
    found = tf.switch_case(
        kind,
        [
            lambda: _walk(data, 2, _segment),
            lambda: _walk(data, 8, _png_chunk),
            lambda: _walk(data, 12, _webp_chunk),
            lambda: nothing,
        ],
    )
    none = tf.constant(0)
    way = tf.cond(found[0] < 0, lambda: none, lambda: _entry(data, found[0]))
    text = (way < 1) & (found[2] > 0)
    return tf.maximum(tf.cond(text, lambda: _in_text(data, found), lambda: way), 1)


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


_EXIF, _XMP = 1, 2
_XMP_NAME = b"http://ns.adobe.com/xap/1.0/\0"
_PNG_NAME = b"XML:com.adobe.xmp\0"
_WINDOW = 4 + len(_XMP_NAME)
_LONGEST_TEXT = 2**20
_KEY = b"tiff:Orientation"

Step = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor, tf.Tensor]]
"""The first bytes of a block to its size, what it holds, and whether it is the last."""


def _walk(data: tf.Tensor, start: int, step: Step) -> tf.Tensor:
    """Finds the blocks that may tell the orientation.

    Returns:
      int64 `[3]`: where the TIFF of the first block with EXIF begins, -1 without one;
      where the last block with XMP begins, and its bytes, 0 without one.
    """
    length = tf.cast(tf.strings.length(data), tf.int64)

    def goes_on(place: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
        return place < length

    def body(place: tf.Tensor, found: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        size, what, last = step(bytes_at(data, place, _WINDOW))
        size = tf.maximum(size, 1)
        what = tf.where(last, 0, what)
        inside = place + (10 if start == 2 else 8)
        exif = tf.where(tf.equal(what, _EXIF) & (found[0] < 0), inside, found[0])
        text = tf.where(tf.equal(what, _XMP), tf.stack([place, size]), found[1:])
        return tf.where(last, length, place + size), tf.concat([[exif], text], 0)

    state = (tf.constant(start, tf.int64), tf.constant([-1, 0, 0], tf.int64))
    return tf.while_loop(goes_on, body, state, maximum_iterations=_LONGEST)[1]


def _what(exif: tf.Tensor, xmp: tf.Tensor) -> tf.Tensor:
    return tf.where(exif, _EXIF, tf.where(xmp, _XMP, 0))


def _is(found: tf.Tensor, text: bytes) -> tf.Tensor:
    return tf.reduce_all(tf.equal(found, list(text)))


def _segment(found: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Of a JPEG."""
    own = tf.equal(found[1], 0xE1)
    what = _what(own & _is(found[4:10], b"Exif\0\0"), own & _is(found[4:], _XMP_NAME))
    # 0xff may be repeated in front of a mark.
    long = 2 + number(found[2:4], True)
    size = tf.where(tf.equal(found[1], 255), tf.ones_like(long), long)
    last = tf.not_equal(found[0], 255) | tf.reduce_any(tf.equal(found[1], [0xDA, 0xD9]))
    return size, what, last


def _png_chunk(found: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    size = 12 + number(found[:4], True)
    name = _is(found[8 : 8 + len(_PNG_NAME)], _PNG_NAME)
    plain = tf.equal(found[8 + len(_PNG_NAME)], 0)  # of iTXt: not compressed
    text = _is(found[4:8], b"tEXt") | (_is(found[4:8], b"iTXt") & plain)
    return size, _what(_is(found[4:8], b"eXIf"), text & name), _is(found[4:8], b"IEND")


def _webp_chunk(found: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    size = number(found[4:8])
    what = _what(_is(found[:4], b"EXIF"), _is(found[:4], b"XMP "))
    return 8 + size + size % 2, what, tf.constant(False)


def _in_text(data: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
    """The orientation in the XMP of a block, as an attribute or an element; int32."""
    text = tf.strings.substr(data, found[1], tf.minimum(found[2], _LONGEST_TEXT))
    after = tf.strings.split(text, _KEY)[1:]
    heads = tf.strings.substr(tf.strings.join([after, b"\0" * 3]), 0, 3)
    first, second, third = tf.unstack(tf.io.decode_raw(heads, tf.uint8), 3, axis=1)
    element = tf.equal(first, ord(">"))
    attribute = tf.equal(first, ord("=")) & tf.equal(second, ord('"'))
    value = tf.cast(tf.where(element, second, third), tf.int32) - ord("0")
    said = (element | attribute) & (value >= 0) & (value <= 9)
    value = tf.where(value > 8, 1, value)
    return tf.concat([tf.boolean_mask(value, said), [0]], 0)[0]


def _entry(data: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
    """The orientation in the TIFF that begins at a place; 0 where it has none."""
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
    sound = big | _is(head[:2], b"II")
    # What is there and no orientation is upright, as Pillow has it.
    value = tf.where((values < 1) | (values > 8), tf.ones_like(values), values)
    first = tf.concat([value, tf.zeros([1], tf.int64)], 0)[0]
    return tf.cast(tf.where(sound, first, tf.zeros_like(first)), tf.int32)
