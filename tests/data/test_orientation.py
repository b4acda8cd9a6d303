"""`orient=exif` gives what Pillow gives, on every path; without it pixels lie."""

import io
import os
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from tests.gallery import chunk, exif, saved, smooth
from tfssl.data import audit, open_source, tfrecord_write, upright
from tfssl.data.decode import decode
from tfssl.data.tfrecord_write import Settings

FILES = {
    f"{kind}{way}.{kind}": saved(smooth(24, 16), kind, exif=exif(way)[6 * short :])
    for kind, short in (("JPEG", 0), ("PNG", 1), ("WEBP", 1))
    for way in (1, 3, 6, 8)
}

_orientation = tf.function(
    upright.orientation, input_signature=[tf.TensorSpec([], tf.string)]
)


def xmp(said):
    """An XMP packet, with bytes that are no UTF-8."""
    return (
        b'<?xpacket begin="\xef\xbb\xbf"?><x:xmpmeta xmlns:x="adobe:ns:meta/">\xff'
        + said + b"</x:xmpmeta>"
    )  # fmt: skip


def attribute(way):
    return xmp(b'<rdf:Description tiff:Orientation="%d"/>' % way)


def element(way):
    return xmp(b"<tiff:Orientation>%d</tiff:Orientation>" % way)


def with_text(kind, text, block=b""):
    """A file with an XMP packet, and EXIF if there is any."""
    more = {"exif": block} if block else {}
    if kind != "PNG":
        return saved(smooth(24, 16), kind, xmp=text, **more)
    fields = b"XML:com.adobe.xmp\0\0\0\0\0" + text.replace(b"\xff", b"")
    whole = saved(smooth(24, 16), kind, **more)
    place = whole.index(b"IDAT") - 4 if len(text) % 2 else -12  # before, or behind
    return whole[:place] + chunk(b"iTXt", fields) + whole[place:]


TEXTS = {
    "attribute": (attribute(6), b""),
    "element": (element(8), b""),
    "exif_first": (attribute(6), exif(3)),
    "exif_of_nothing": (element(6), exif(0)),
    "exif_of_something_else": (attribute(5), exif(6).replace(b"\x12\x01", b"\x13\x01")),
    "no_number": (xmp(b'tiff:Orientationtiff:Orientation="x'), b""),
    "the_second": (xmp(b'tiff:Orientation="" tiff:Orientation>7'), b""),
    "nine": (attribute(9), b""),
    "at_the_end": (xmp(b"")[:-12] + b"tiff:Orientation", b""),
}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("text", TEXTS)
def test_an_orientation_in_xmp_is_what_pillow_makes_of_it(kind, text):
    words, block = TEXTS[text]
    data = with_text(kind, words, block[6 * (kind != "JPEG") :])
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        way = image.getexif().get(0x0112, 1)
        want = np.asarray(ImageOps.exif_transpose(image).convert("RGB")).astype(int)
    got = int(_orientation(tf.constant(data)))
    assert got == (way if 1 <= way <= 8 else 1)
    for python in (True, False):  # training's decoder, and the served one
        image = decode(tf.constant(data), 10**6, orient="exif", python=python).numpy()
        assert image.shape == want.shape and np.abs(image - want).max() <= 4


def test_a_compressed_text_is_not_read():
    fields = b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(attribute(6))
    whole = saved(smooth(24, 16), "PNG")
    data = whole[:-12] + chunk(b"iTXt", fields) + whole[-12:]
    assert int(_orientation(tf.constant(data))) == 1


FILES |= {f"x{kind}.{kind}": with_text(kind, attribute(6)) for kind in ("JPEG", "PNG")}


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    """The same files as a folder, a list and TFRecord files."""
    root = tmp_path_factory.mktemp("turned")
    (root / "x").mkdir()
    for name, data in FILES.items():
        (root / "x" / name).write_bytes(data)
    (root / "list").write_text("".join(f"x/{name}\n" for name in FILES))
    source = open_source(f"folder:{root}/x", "all", image_size=8, memory=0)
    settings = Settings("x", "all", 1)
    out = str(root / "r")
    tfrecord_write.begin(source, settings, out)
    tfrecord_write.write_shard(source, settings, out, 0)
    tfrecord_write.end(source, settings, out)
    return {
        "folder": f"folder:{root}/x",
        "list": f"list:{root}/list",
        "tfrecord": f"tfrecord:{out}/all-*",
    }


@pytest.mark.parametrize(
    ("kind", "orient"),
    [("folder", "none"), ("folder", "exif"), ("list", "exif"), ("tfrecord", "exif")],
)
def test_pictures_are_turned_alike_on_every_path(kinds, kind, orient):
    source = open_source(kinds[kind], "all", image_size=8, memory=0, orient=orient)
    assert source.num_examples == len(FILES)
    # The quick way that decodes a part of a JPEG knows no EXIF.
    assert orient == "none" or source.mostly_jpeg() == ""
    rows = tf.data.Dataset.range(len(FILES)).map(source.example)
    for index, row in enumerate(rows.as_numpy_iterator()):
        with Image.open(io.BytesIO(source.read(index))) as image:
            upright = ImageOps.exif_transpose(image) if orient == "exif" else image
            want = np.asarray(upright.convert("RGB")).astype(int)
        got = row["image"]
        assert got.shape == want.shape and np.abs(got - want).max() <= 4


def test_the_doctor_counts_what_would_be_turned(kinds):
    source = open_source(kinds["folder"], "all", image_size=8, memory=0)
    seen = audit.look(source, 0)
    turned = sorted(os.path.basename(one.name) for one in seen if "turned" in one.kinds)
    assert turned == sorted(name for name in FILES if "1." not in name)
