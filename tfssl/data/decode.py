"""One gate before any decoder: bytes to pixels, inside a graph, whatever the bytes are.

The format is told by the bytes, the header read, and only what TensorFlow decodes
safely and rightly reaches TensorFlow. What it would decode wrongly goes to Pillow where
Python may be called (our pipelines), and is refused where not (the exported model).
Memory is bounded by the pixels that the header declares, since an animation is reduced
to its first frame before it is decoded, and time by the number of scans and pieces.

Byte positions: JPEG (ITU T.81), PNG (ISO 15948, IHDR), GIF89a, BMP (BITMAPINFOHEADER),
WebP (RFC 9649). Known of TensorFlow 2.21: an opaque animated WebP writes past its
buffer; a BMP's palette is not looked at; a GIF is unpacked with all its frames.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfssl.data import formats, upright
from tfssl.data.formats import DECODED, HEAD, MAGIC, MAX_PIXELS
from tfssl.data.source import first_line
from tfssl.data.upright import bytes_at

# Missing in some builds of TensorFlow 2.20; then WebP is Pillow's.
_DECODE_WEBP = getattr(tf.io, "decode_webp", None)
# Of a JPEG, pixels times scans: a scan of ten bytes costs a pass over all pixels.
_SCANNED = 50_000_000_000
_SMALLEST_SCAN = 10  # bytes
_PIECES = 20_000  # of a GIF's first frame and of what stands before it; of a PNG
_RESERVED = "tEXt|zTXt|iTXt|sPLT|pCAL|sCAL"  # libpng allots what these claim to hold
_RUN = 64  # pieces of full length that are passed over at once


def decode(
    data: tf.Tensor,
    max_pixels: int = MAX_PIXELS,
    *,
    orient: str = "none",
    python: bool = True,
) -> tf.Tensor:
    """Decodes an image file of a kind that is safe, and refuses all others by name.

    JPEG (grey, CMYK), PNG (grey, palette, alpha, 16 bits, interlaced), BMP, GIF and
    WebP, animations by their first frame. Alpha is dropped, not composited; 16 bits
    keep the upper 8; the EXIF orientation is ignored, as in the official pipelines,
    unless it is asked for.

    Args:
      data: string scalar, the file's bytes.
      max_pixels: Images that declare more are refused; 0: no limit.
      orient: `"exif"` turns pictures upright; `"none"` leaves them as they lie.
      python: Whether the graph runs where Python may be called; else BMPs and GIFs of
        odd kinds are refused.

    Returns:
      uint8 `[h, w, 3]` RGB.

    Raises:
      tf.errors.OpError: When run, with the reason, for anything else.
    """
    limit = max_pixels or np.iinfo(np.int64).max
    return _gate(orient, python)(data, tf.constant(limit, tf.int64))


# Traced once for all pipelines of a process, which takes a second.
@functools.cache
def _gate(orient: str, python: bool) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    def gate(data: tf.Tensor, limit: tf.Tensor) -> tf.Tensor:
        head = _head(data)
        # Pillow for all GIFs and BMPs where it may be called: a smaller graph.
        gif, bmp = (_by_pillow, _by_pillow) if python else (_gif, _bmp)
        branches = {
            "JPEG": lambda: _usual(_jpeg(data, limit)),
            "PNG": lambda: _usual(_png(data, head, limit)),
            "WebP": lambda: _webp(data, head, limit),
            "GIF": lambda: gif(_within(data, *_gif_size(head), limit), head, limit),
            "BMP": lambda: bmp(_within(data, *_bmp_size(head), limit), head, limit),
        }
        known = [branches[name] for name in DECODED]
        kind = tf.minimum(_kind(head), len(DECODED))
        image = tf.switch_case(kind, [*known, lambda: _foreign(data, head)])
        image = tf.ensure_shape(image, [None, None, 3])
        if orient == "exif":
            image = upright.turn(image, upright.orientation(data))
        return tf.ensure_shape(image, [None, None, 3])

    spec = [tf.TensorSpec([], tf.string), tf.TensorSpec([], tf.int64)]
    return tf.function(gate, input_signature=spec, autograph=False)


def whole_jpeg(
    data: tf.Tensor, max_pixels: int, look: bool = False
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None]:
    """Checks a JPEG of which only a part may be decoded, without a branch.

    A JPEG that was cut short must be found although the missing part is not decoded.

    Args:
      data: string scalar.
      max_pixels: Images that declare more are an error; 0: no limit.
      look: Whether files with bytes behind the image, and those that might hold very
        many scans, are looked through; without it they are an error, and sooner known.

    Returns:
      (`data`; its int32 `[3]` height, width, channels; with `look` a bool scalar:
      whether the image's end was seen, so that a part of it may be decoded.)

    Raises:
      tf.errors.OpError: When run, if it is none.
    """
    # libjpeg writes a line to the terminal for whatever else it is asked about.
    begins = tf.equal(tf.strings.substr(data, 0, 3), b"\xff\xd8\xff")
    jpeg = tf.raw_ops.Assert(condition=begins, data=["not a JPEG"])
    with tf.control_dependencies([jpeg]):
        shape = tf.io.extract_jpeg_shape(data, output_type=tf.int32)
    pixels = tf.reduce_prod(tf.cast(shape[:2], tf.int64))
    ended = tf.equal(tf.strings.substr(data, -2, 2), b"\xff\xd9")
    small = pixels * _length(data) <= _SCANNED * _SMALLEST_SCAN
    passes = pixels <= (max_pixels or tf.int64.max)
    whole = None
    if look:
        scans, end_seen = _marks(tf.where(ended & small, b"", data))
        whole = ended | end_seen
        passes &= pixels * scans <= _SCANNED
    else:
        passes &= ended & small
    # The raw operation: tf.debugging.Assert makes a branch of it.
    check = tf.raw_ops.Assert(condition=passes, data=["too large, or no end", pixels])
    with tf.control_dependencies([check]):
        return tf.identity(data), shape, whole


def is_plain_jpeg(data: bytes) -> bool:
    """Whether `whole_jpeg` takes a JPEG without a look; False for other files too."""
    try:
        whole_jpeg(tf.constant(data), 0)
    except tf.errors.OpError:
        return False
    return True


def reason(data: bytes, max_pixels: int) -> str:
    """Says why `decode` refuses these bytes; "" where it does not."""
    try:
        decode(tf.constant(data), max_pixels)
    except (tf.errors.OpError, ValueError) as error:
        return said(error, data)
    return ""


def said(error: Exception, data: bytes = b"") -> str:
    """The reason in an error of `decode`, without what TensorFlow puts around it.

    Args:
      error: The error.
      data: The file's bytes, which may tell more.
    """
    text = first_line(error)
    if "assertion failed: [" in text:
        return text.partition("assertion failed: [")[2].rpartition("]")[0]
    if odd := formats.odd_jpeg(data):
        return odd
    if text.startswith("ValueError: "):
        return "not decodable: " + text.removeprefix("ValueError: ")
    return f"not decodable: {text}"


def _length(data: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.strings.length(data), tf.int64)


def _part(data: tf.Tensor, start: tf.Tensor | int, count: tf.Tensor | int) -> tf.Tensor:
    """So many bytes from a place on, as far as there are any."""
    start = tf.minimum(tf.cast(start, tf.int64), _length(data))
    return tf.strings.substr(data, start, tf.maximum(tf.cast(count, tf.int64), 0))


def _head(data: tf.Tensor) -> tf.Tensor:
    """int64 `[HEAD]`: the first bytes, zeros behind a shorter file."""
    return bytes_at(data, tf.constant(0, tf.int64), HEAD)


def _kind(head: tf.Tensor) -> tf.Tensor:
    wanted = np.full([len(MAGIC) + 1, HEAD], -1, np.int64)
    for row, magic in zip(wanted, MAGIC, strict=False):
        for at, text in magic.bytes_at.items():
            row[at : at + len(text)] = list(text)
    order = [name for name, _ in MAGIC]
    numbers = [DECODED.index(name) if name in DECODED else len(DECODED) + place
               for place, name in enumerate(order)]  # fmt: skip
    fits = tf.reduce_all((wanted < 0) | (wanted == head), axis=-1)
    first = tf.argmax(tf.cast(fits, tf.int32))
    return tf.gather(tf.constant([*numbers, len(DECODED) + len(MAGIC)]), first)


def _foreign(data: tf.Tensor, head: tf.Tensor) -> tf.Tensor:
    names = [name for name, _ in MAGIC] + ["no image of a known format"]
    name = tf.gather(tf.constant(names), _kind(head) - len(DECODED))
    name = tf.where(tf.equal(_length(data), 0), "empty", name)
    return _refused(tf.strings.join(["is ", name, ", not one of ", ", ".join(DECODED)]))


def _refused(text: tf.Tensor | str) -> tf.Tensor:
    with tf.control_dependencies([_require(tf.constant(False), text)]):
        return tf.zeros([1, 1, 3], tf.uint8)


def _require(holds: tf.Tensor, text: tf.Tensor | str) -> tf.Operation:
    return tf.raw_ops.Assert(condition=holds, data=[text])


def _numbers(found: tf.Tensor, *places: tuple[int, int]) -> list[tf.Tensor]:
    """Reads integers out of bytes `[n]`, in one operation: int64 scalars.

    Args:
      found: int64 `[n]`.
      *places: Where each begins and its number of bytes; negative: big-endian.
    """
    weights = np.zeros([len(places), found.shape[0]], np.int64)
    for row, (start, count) in zip(weights, places, strict=True):
        powers = 256 ** np.arange(abs(count), dtype=np.int64)
        row[start : start + abs(count)] = powers if count > 0 else powers[::-1]
    return tf.unstack(tf.linalg.matvec(tf.constant(weights), found))


def _by_pillow(data: tf.Tensor, head: tf.Tensor, limit: tf.Tensor) -> tf.Tensor:
    del head
    return tf.numpy_function(formats.by_pillow, [data, limit], tf.uint8, stateful=False)


def _within(
    data: tf.Tensor, width: tf.Tensor, height: tf.Tensor, limit: tf.Tensor
) -> tf.Tensor:
    """`data`, once the size that it declares has passed the limit."""
    # Of two sides of 32 bits the product may not fit into 64.
    fits = (width > 0) & (height > 0) & (width < 2**31) & (height < 2**31)
    pixels = tf.where(fits, width * height, 0)
    text = tf.strings.format(
        "declares {} x {} pixels, more than max_image_pixels={}, or none",
        (width, height, limit),
    )
    with tf.control_dependencies([_require(fits & (pixels <= limit), text)]):
        return tf.identity(data)


def _pillows() -> tf.Tensor:
    return _refused("is of a kind that only training decodes, by Pillow")


def _usual(data: tf.Tensor) -> tf.Tensor:
    return tf.io.decode_image(data, channels=3, expand_animations=False)


def _marks(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """(How many scans a JPEG may hold; whether an end follows the last of them)."""
    # In the data of a scan 0xff is followed by 0 or a restart mark, so that an end
    # stands behind them; a thumbnail's end is followed by the scans of the picture.
    raw = tf.io.decode_raw(data, tf.uint8)
    marked = tf.where(tf.equal(raw[:-1], 255), raw[1:], 0)
    scans = tf.equal(marked, 0xDA)
    places = tf.where(scans | tf.equal(marked, 0xD9))[:, 0]
    last = tf.gather(marked, places[-1:])
    return tf.math.count_nonzero(scans), tf.reduce_any(tf.equal(last, 0xD9))


def _jpeg(data: tf.Tensor, limit: tf.Tensor) -> tf.Tensor:
    shape = tf.cast(tf.io.extract_jpeg_shape(data), tf.int64)
    data = _within(data, shape[1], shape[0], limit)
    pixels = shape[0] * shape[1]
    small = pixels * _length(data) <= _SCANNED * _SMALLEST_SCAN
    scans, _ = _marks(tf.where(small, b"", data))
    check = _require(pixels * scans <= _SCANNED, "has too many scans for its size")
    with tf.control_dependencies([check]):
        return tf.identity(data)


def _png(data: tf.Tensor, head: tf.Tensor, limit: tf.Tensor) -> tf.Tensor:
    width, height = _numbers(head, (16, -4), (20, -4))
    data = _within(data, width, height, limit)
    without = tf.strings.regex_replace(data, _RESERVED, "", replace_global=False)
    fits = tf.cond(
        tf.equal(_length(without), _length(data)),
        lambda: tf.constant(True),
        lambda: _chunks_fit(data),
    )
    check = _require(fits, "has a chunk that is longer than the file, or too many")
    with tf.control_dependencies([check]):
        return tf.identity(data)


def _chunks_fit(data: tf.Tensor) -> tf.Tensor:
    """Whether the chunks of a PNG up to its end lie within the file, bool."""
    raw = tf.io.decode_raw(data, tf.uint8)
    size = tf.size(raw, tf.int64)

    def step(place):
        found = tf.cast(raw[place : place + 8], tf.int64)
        length, kind = _numbers(tf.ensure_shape(found, [8]), (0, -4), (4, -4))
        ends = tf.equal(kind, int.from_bytes(b"IEND", "big"))
        return (tf.where(ends, size, place + 12 + length),)

    (place,) = tf.while_loop(
        lambda place: place + 8 <= size,
        step,
        (tf.constant(8, tf.int64),),
        maximum_iterations=_PIECES,
    )
    return tf.equal(place, size)


def _gif_size(head: tf.Tensor) -> list[tf.Tensor]:
    return _numbers(head, (6, 2), (8, 2))


def _gif(data: tf.Tensor, head: tf.Tensor, limit: tf.Tensor) -> tf.Tensor:
    del limit
    begin, end, found = _first_frame(data, head)
    with tf.control_dependencies(
        [_require(found | (end < _length(data)), "is cut short")]
    ):
        frame = _part(data, tf.where(found, begin, 0), 10)
    # Transparency stands in the blocks between; without them the palette's colours
    # remain, as of any other format whose alpha is dropped.
    start = 13 + _table(head[10])
    still = tf.strings.join(
        [
            _part(data, 0, start),
            _part(data, begin, end - begin),
            ";",
        ]
    )
    # The frame's place and size, against the screen's.
    fills = tf.strings.join([b",\0\0\0\0", tf.strings.substr(data, 6, 4)])
    usual = found & tf.equal(tf.strings.substr(frame, 0, 9), fills)
    return tf.cond(usual, lambda: _usual(still), _pillows)


def _table(flags: tf.Tensor) -> tf.Tensor:
    """Bytes of a GIF's colour table, int64."""
    flags = tf.cast(flags, tf.int64)
    size = 3 * tf.bitwise.left_shift(tf.constant(2, tf.int64), flags % 8)
    return tf.where(flags >= 128, size, 0)


def _first_frame(
    data: tf.Tensor, head: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Where a GIF's first frame begins and ends, int64; whether it is whole."""
    raw = tf.io.decode_raw(data, tf.uint8)
    size = tf.size(raw, tf.int64)
    block, extension, image, done = tf.unstack(tf.range(4))

    def byte(place: tf.Tensor) -> tf.Tensor:
        return tf.cast(raw[tf.minimum(place, size - 1)], tf.int64)

    def goes_on(place, state, begin):
        return (place < size) & (state != done)

    def step(place, state, begin):
        first = byte(place)
        # Between blocks: an extension, or the image; anything else ends the search.
        is_image = tf.equal(first, 0x2C)
        after_table = place + 11 + _table(byte(place + 9))
        opened = tf.where(
            is_image, after_table, tf.where(first == 0x21, place + 2, size)
        )
        entered = tf.where(is_image, image, extension)
        # Within a block: as many full pieces as stand here at once, or one piece.
        lengths = raw[place : place + 256 * _RUN : 256]
        full = tf.equal(tf.concat([lengths, [0]], 0), 255)
        run = tf.argmin(tf.cast(full, tf.int32))
        passed = place + tf.where(run > 0, 256 * run, 1 + first)
        left = tf.where(tf.equal(state, extension), block, done)
        between, ends = tf.equal(state, block), tf.equal(first, 0)
        return (
            tf.where(between, opened, passed),
            tf.where(between, entered, tf.where(ends, left, state)),
            tf.where(between & is_image, place, begin),
        )

    start = 13 + _table(head[10])
    place, state, begin = tf.while_loop(
        goes_on, step, (start, block, start), maximum_iterations=_PIECES
    )
    return begin, place, tf.equal(state, done) & (place <= size)


def _bmp_size(head: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    places = (14, 4), (18, 4), (22, 4), (18, 2), (20, 2)
    header, *sides = _numbers(head, *places)
    old = tf.equal(header, 12)  # OS/2, with sides of 16 bits
    width, height = (tf.where(old, sides[n + 2], sides[n]) for n in range(2))
    # A negative height says that the rows run downwards.
    return width, tf.minimum(height, 2**32 - height)


def _bmp(data: tf.Tensor, head: tf.Tensor, limit: tf.Tensor) -> tf.Tensor:
    del limit
    places = (10, 4), (14, 4), (28, 2), (30, 4)
    start, header, bits, packing = _numbers(head, *places)
    width, height = _bmp_size(head)
    needed = start + (width * bits + 31) // 32 * 4 * height
    # Eight bits are numbers of colours. Only of this palette they are the greys.
    greys = np.repeat(np.arange(256, dtype=np.uint8), 4).reshape(-1, 4)
    greys[:, 3] = 0
    palette = _part(data, 14 + header, 1024)
    direct = tf.equal(bits, 24) | tf.equal(bits, 32)
    direct |= tf.equal(bits, 8) & tf.equal(palette, greys.tobytes())
    plain = (header >= 40) & direct & tf.equal(packing, 0)
    plain &= start >= 14 + header + 1024 * tf.cast(tf.equal(bits, 8), tf.int64)

    def straight() -> tf.Tensor:
        whole = _require(needed <= _length(data), "is cut short")
        with tf.control_dependencies([whole]):
            exact = _part(data, 0, needed)
        return _three_channels(tf.io.decode_bmp(exact, channels=0))

    return tf.cond(plain, straight, _pillows)


def _webp(data: tf.Tensor, head: tf.Tensor, limit: tf.Tensor) -> tf.Tensor:
    kind, marks, packed, *sides = _numbers(
        head, (12, 4), (20, 1), (21, 4), (24, 3), (27, 3), (26, 2), (28, 2)
    )
    extended, lossless, lossy = (
        tf.equal(kind, int.from_bytes(name, "little"))
        for name in (b"VP8X", b"VP8L", b"VP8 ")
    )
    size = tf.where(extended, tf.stack(sides[:2]) + 1,
           tf.where(lossless, packed // [1, 2**14] % 2**14 + 1,
                    tf.stack(sides[2:]) % 2**14))  # fmt: skip
    known = _require(extended | lossless | lossy, "is a WebP without an image in front")
    with tf.control_dependencies([known]):
        data = _within(data, size[0], size[1], limit)
    if _DECODE_WEBP is None:
        return _refused("is a WebP, which this build of TensorFlow cannot decode")
    animated = extended & tf.equal(marks // 2 % 2, 1)

    def still(file: tf.Tensor) -> tf.Tensor:
        return _three_channels(_DECODE_WEBP(file, channels=0))

    def first() -> tf.Tensor:
        file, place = _first_still(data, size)
        image = still(file)
        room = size[::-1] - tf.shape(image, tf.int64)[:2] - place
        return tf.pad(image, tf.pad(tf.stack([place, room], 1), [[0, 1], [0, 0]]))

    return tf.cond(animated, first, lambda: still(data))


def _first_still(data: tf.Tensor, canvas: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """An animated WebP's first frame as a WebP; int64 `[2]`: its top and left."""
    # Behind VP8X, 30 bytes: maybe a profile, then ANIM of 14 bytes, then the frame.
    front = bytes_at(data, tf.constant(30, tf.int64), 8)
    name, size = _numbers(front, (0, 4), (4, 4))
    profile = tf.cast(tf.equal(name, int.from_bytes(b"ICCP", "little")), tf.int64)
    begin = 30 + profile * (8 + size + size % 2)
    found = bytes_at(data, begin, 46)
    names, length, x, y, width, height = _numbers(
        found, (14, 4), (18, 4), (22, 3), (25, 3), (28, 3), (31, 3)
    )
    end = begin + 22 + length
    whole = tf.equal(names, int.from_bytes(b"ANMF", "little"))
    whole &= (end > begin + 38) & (end <= _length(data))
    whole &= (2 * x + width < canvas[0]) & (2 * y + height < canvas[1])
    with tf.control_dependencies([_require(whole, "is an animation without a frame")]):
        chunks = _part(data, begin + 38, end - begin - 38)
    size = _length(chunks) + 4 + 18
    written = tf.strings.reduce_join(
        tf.gather(_BYTES, size // [1, 2**8, 2**16, 2**24] % 256)
    )
    # With the mark of alpha four channels are asked for, which suits every frame.
    marks = b"VP8X\x0a\0\0\0\x10\0\0\0"
    parts = [b"RIFF", written, b"WEBP", marks, _part(data, begin + 28, 6), chunks]
    return tf.strings.join(parts), 2 * tf.stack([y, x])


_BYTES = [bytes([value]) for value in range(256)]


def _three_channels(image: tf.Tensor) -> tf.Tensor:
    """First frame, RGB: grey is repeated, alpha is dropped; `[h, w, 3]`."""
    shape = tf.shape(image)
    image = tf.reshape(image, tf.concat([[-1], shape[-3:]], 0))[0]
    return tf.gather(image, tf.minimum([0, 1, 2], shape[-1] - 1), axis=-1)
