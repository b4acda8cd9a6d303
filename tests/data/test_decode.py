"""Every format and feature against Pillow, through the gate of training and serving."""

import functools
import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from tests.gallery import (
    SIZE,
    chunk,
    gallery,
    jpeg_header,
    png,
    png_header,
    saved,
    smooth,
)
from tfssl.data import Folder, decode, parse_split, upright

GALLERY = gallery()
_SPEC = [tf.TensorSpec([], tf.string)]


@pytest.fixture(scope="module")
def training():
    return decode.decode


@pytest.fixture(scope="module")
def serving():
    return functools.partial(decode.decode, python=False)


def by_pillow(name, data):
    """What Pillow shows; where it is not the oracle, what the picture was made of."""
    if name == "png 16 bits grey":  # Pillow clips
        return np.repeat(smooth()[..., :1], 3, -1)
    if name == "png text":  # Pillow fears the text
        return smooth()
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("name", GALLERY)
def test_pixels_are_right_or_the_file_is_refused_with_the_reason(
    training, serving, name
):
    case = GALLERY[name]
    if case.refused:
        assert case.refused in decode.reason(case.data, 10**8)
        for gate in (training, serving):
            with pytest.raises((tf.errors.OpError, ValueError)):
                gate(case.data)
        return
    want = by_pillow(name, case.data).astype(int)
    got = training(case.data).numpy()
    # Decoders of JPEG round their transforms in different ways.
    close = 12 if name == "jpeg ycck" else 4  # two conversions of colour enlarge it
    assert np.abs(got - want).max() <= (0 if case.exact else close)
    if case.served:
        np.testing.assert_array_equal(serving(case.data), got)
    else:
        with pytest.raises(tf.errors.InvalidArgumentError, match="only training"):
            serving(case.data)


def test_orientation_is_what_pillow_reads_and_does():
    orientation = tf.function(upright.orientation, input_signature=_SPEC)
    turned = 0
    for name, case in GALLERY.items():
        if case.refused or not case.served or name in ("png text", "png 16 bits grey"):
            continue
        with Image.open(io.BytesIO(case.data)) as image:
            image.load()
            way = image.getexif().get(0x0112, 1)
            want = np.asarray(ImageOps.exif_transpose(image).convert("RGB")).astype(int)
        got = decode.decode(tf.constant(case.data), orient="exif", python=False)
        assert orientation(case.data).numpy() == way, name
        close = 12 if name == "jpeg ycck" else 4
        assert np.abs(got.numpy() - want).max() <= (0 if case.exact else close), name
        turned += way > 1
    assert turned >= 9


@pytest.mark.parametrize(
    "data",
    [
        png_header(20000, 20000),
        png_header(2**31 - 1, 2**31 - 1),
        png_header(2**32 - 1, 1),
        png_header(0, 7),
        jpeg_header(20000, 20000),
        b"GIF89a" + struct.pack("<HH", 65535, 65535) + bytes(99),
        b"BM" + bytes(12) + struct.pack("<IiiHH", 40, 2**31 - 1, -(2**31), 1, 24),
        b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0" + b"\xff" * 6 + bytes(99),
    ],
)  # fmt: skip
def test_a_bomb_is_refused_by_what_it_declares(training, serving, data):
    assert "pixels" in decode.reason(data, 10**8)
    for gate in (training, serving):
        with pytest.raises(tf.errors.InvalidArgumentError, match="pixels"):
            gate(data)


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt", b"sPLT", b"pCAL", b"sCAL"])
@pytest.mark.parametrize("behind", [False, True])
def test_a_png_reserves_no_more_than_it_has(training, serving, kind, behind):
    rows = np.zeros([4, 1 + 3 * 4], np.uint8)
    rows[:, 1:] = 7
    parts = {"before": b"", "after": b""}

    def picture(claimed):
        piece = bytearray(chunk(kind, b"a\0\0" + bytes(30)))
        piece[:4] = struct.pack(">I", claimed)
        place = "after" if behind else "before"
        return png(rows.tobytes(), 4, 4, 8, 2, **{**parts, place: bytes(piece)})

    for claimed in (2**31 - 1, 5 * 10**8, 4000):
        data = picture(claimed)
        assert "chunk that is longer than the file" in decode.reason(data, 10**8)
        for gate in (training, serving):
            with pytest.raises(tf.errors.InvalidArgumentError, match="chunk"):
                gate(data)
    if kind in (b"tEXt", b"zTXt", b"iTXt"):  # the others would have to hold sense
        good = picture(33)
        assert np.all(training(good + b"IENDtEXt" + bytes(99)) == 7)
        assert np.all(serving(good) == 7)


def test_a_bomb_is_refused_and_named(tmp_path, files):
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


def test_a_jpeg_of_countless_scans_is_refused():
    data = saved(Image.new("L", (4000, 4000)), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    scan = data[last:-2]
    many = data[:-2] + scan * 4000 + b"\xff\xd9"
    assert "too many scans" in decode.reason(many, 10**8)
    assert not decode.is_plain_jpeg(many)
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode.whole_jpeg(tf.constant(many), 10**8, look=True)


@pytest.mark.parametrize(
    "name", [n for n in GALLERY if n.startswith("jpeg") and n != "jpeg 2000"]
)
def test_the_end_of_a_jpeg_is_seen_behind_whatever_it_stands(name):
    case = GALLERY[name]
    found_anyway = ("header only", "12 bits", "lossless")
    if name.removeprefix("jpeg ") in found_anyway:  # without a look at its end
        return
    _, shape, whole = decode.whole_jpeg(tf.constant(case.data), 10**8, look=True)
    assert tuple(shape.numpy()[:2]) == SIZE
    if case.refused and "cut" in name:
        assert not whole
    elif not case.refused:
        assert whole or "behind" in name
    assert decode.is_plain_jpeg(case.data) == case.data.endswith(b"\xff\xd9")


def test_no_jpeg_lets_bytes_behind_it_through_to_another_path(tmp_path):
    """A trailer costs no second attempt: the source says so from its first files."""
    for number in range(9):
        data = saved(smooth(seed=number), "JPEG")
        (tmp_path / f"{number}.jpg").write_bytes(data + b"\0" * (number % 2))
    source = Folder(str(tmp_path), parse_split("all"))
    assert source.mostly_jpeg() == "look"
    for index in range(9):
        found = source.jpeg(tf.constant(index, tf.int64), look=True)
        assert found["whole"]


@pytest.mark.parametrize("way", range(1, 9))
def test_an_orientation_written_into_a_jpeg_is_read_by_pillow_and_by_us(way):
    data = upright.marked(saved(smooth(), "JPEG"), way)
    with Image.open(io.BytesIO(data)) as image:
        assert image.getexif().get(0x0112, 1) == way
    assert upright.orientation(tf.constant(data)).numpy() == way


def test_other_formats_among_jpegs_leave_the_terminal_alone(capfd):
    data = gallery()["png rgb"].data if "png rgb" in gallery() else b"RIFF0000WEBP"
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode.whole_jpeg(tf.constant(data), 10**6)
    assert "JPEG file" not in capfd.readouterr().err
