"""`orient=exif` gives what Pillow gives, on every path; without it pixels lie."""

import io
import os

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from tests.gallery import exif, saved, smooth
from tfssl.data import audit, open_source, tfrecord_write
from tfssl.data.tfrecord_write import Settings

FILES = {
    f"{kind}{way}.{kind}": saved(smooth(24, 16), kind, exif=exif(way)[6 * short :])
    for kind, short in (("JPEG", 0), ("PNG", 1), ("WEBP", 1))
    for way in (1, 3, 6, 8)
}


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
