"""Sizes read from headers, against Pillow and against headers written by hand."""

import io
import struct
import zlib

import pytest
import tensorflow as tf
from PIL import Image

from tfssl.data import Folder, header, parse_split

MODES = {"JPEG": "RGB", "PNG": "RGBA", "GIF": "P", "BMP": "RGB", "WEBP": "RGB"}


def saved(kind, size, mode=None, **options):
    buffer = io.BytesIO()
    Image.new(mode or MODES[kind], size).save(buffer, kind, **options)
    return buffer.getvalue()


def png_header(width, height):
    """A PNG of a few bytes that declares any size."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"\0" * 64)
    chunks = (chunk, data, b"IEND")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c))
        for c in chunks
    )


def jpeg_header(width, height):
    """A real JPEG whose frame header declares another size."""
    data = bytearray(saved("JPEG", (8, 8)))
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = struct.pack(">HH", height, width)
    return bytes(data)


FILES = [
    *((kind, saved(kind, size), size) for kind in MODES for size in ((5, 3), (300, 7))),
    ("lossless webp", saved("WEBP", (300, 7), lossless=True), (300, 7)),
    ("webp with alpha", saved("WEBP", (31, 7), "RGBA"), (31, 7)),
    ("grey jpeg", saved("JPEG", (9, 4), "L"), (9, 4)),
    ("cmyk jpeg", saved("JPEG", (9, 4), "CMYK"), (9, 4)),
    ("progressive", saved("JPEG", (90, 40), progressive=True), (90, 40)),
    ("png bomb", png_header(20000, 20000), (20000, 20000)),
    ("jpeg bomb", jpeg_header(20000, 20000), (20000, 20000)),
    ("largest png", png_header(2**31 - 1, 2**31 - 1), (2**31 - 1, 2**31 - 1)),
    ("text", b"this is no picture" * 4, (0, 0)),
    ("empty", b"", (0, 0)),
    ("short", b"\x89PN", (0, 0)),
]


@pytest.fixture(scope="module")
def count():
    return tf.function(
        header.pixel_count, input_signature=[tf.TensorSpec([], "string")]
    )


@pytest.mark.parametrize(("kind", "data", "size"), FILES, ids=[f[0] for f in FILES])
def test_pixels_are_what_the_header_says(count, kind, data, size):
    assert count(data) == size[0] * size[1]


def test_bmp_of_both_header_kinds_and_directions(count):
    top_down = bytearray(saved("BMP", (30, 20)))
    top_down[22:26] = struct.pack("<i", -20)
    core = b"BM" + bytes(12) + struct.pack("<IHHHH", 12, 30, 20, 1, 24)
    assert count(bytes(top_down)) == count(core) == 600


def test_a_bomb_is_refused_before_it_is_decoded_and_named(tmp_path, files):
    (tmp_path / "bomb.png").write_bytes(png_header(20000, 20000))
    (tmp_path / "bomb.jpg").write_bytes(jpeg_header(20000, 15000))
    (tmp_path / "good.png").write_bytes(files.encoded(files.picture(1), "PNG"))
    source = Folder(str(tmp_path), parse_split("all"))
    images = tf.data.Dataset.range(3).map(source.example).ignore_errors()
    assert sum(1 for _ in images) == 1
    for index, path in enumerate(source.paths):
        if path.startswith("bomb"):
            assert "max_image_pixels=100000000" in source.failed(index)
    assert len(source.skipped()) == 2


def test_the_limit_counts_pixels_and_zero_lifts_it(tmp_path, files):
    (tmp_path / "a.png").write_bytes(files.encoded(files.picture(1, 12, 10), "PNG"))
    for limit, passes in ((119, False), (120, True), (0, True)):
        source = Folder(str(tmp_path), parse_split("all"), max_pixels=limit)
        images = tf.data.Dataset.range(1).map(source.example).ignore_errors()
        assert sum(1 for _ in images) == passes, limit
