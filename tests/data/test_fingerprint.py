"""Images that changed under the same names, numbers and labels are seen."""

import os

import numpy as np
import pytest

from tests.pictures import encoded, picture, tree
from tfssl.data import fingerprint, in_memory, open_source, spread


def opened(dataset, **options):
    return open_source(dataset, "all", image_size=16, memory=0, **options)


def test_a_folder_whose_pictures_are_made_anew(tmp_path):
    tree(tmp_path / "x", ["a", "b"], 4)
    before = opened(f"folder:{tmp_path}/x")
    first = fingerprint(before)
    for file in (tmp_path / "x").rglob("*.png"):
        os.utime(file, (1, 1))
    assert fingerprint(opened(f"folder:{tmp_path}/x")) == first  # the same bytes
    file = next((tmp_path / "x").rglob("*.png"))
    file.write_bytes(encoded(picture(99), "PNG"))
    after = opened(f"folder:{tmp_path}/x")
    assert (after.ids == before.ids).all() and (after.labels == before.labels).all()
    assert fingerprint(after) != first
    file.unlink()
    assert fingerprint(after) not in (first, "")  # unreadable is something, too


def test_one_file_of_many_by_its_size(tmp_path):
    """Not all are looked into."""
    tree(tmp_path / "x", ["a"], 200)
    source = opened(f"folder:{tmp_path}/x")
    first = fingerprint(source)
    for place in range(3):
        path = source.where(place)
        with open(path, "ab") as out:
            out.write(b"0")
        assert (now := fingerprint(source)) != first
        first = now


@pytest.mark.parametrize("part", ["whole", "subset", "in memory"])
def test_arrays_of_one_shape(tmp_path, part):
    def read(seed):
        rng = np.random.default_rng(seed)
        images = rng.integers(0, 256, (30, 6, 5, 3), np.uint8)
        np.savez(tmp_path / "a.npz", images=images, labels=np.arange(30) % 3)
        source = opened(f"arrays:{tmp_path}/a.npz")
        if part == "subset":
            return spread(source, 7)
        return in_memory(source) if part == "in memory" else source

    found = [fingerprint(read(seed)) for seed in (0, 1, 0)]
    assert found[0] != found[1] and found[0] == found[2]


def test_records_by_the_feature_that_is_the_image(tmp_path):
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(tmp_path / "a.tfrecord")) as out:
        for number in range(4):
            bytes_ = [encoded(picture(number + k), "PNG") for k in (0, 50)]
            feature = {
                name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[data]))
                for name, data in zip(("left", "right"), bytes_, strict=True)
            }
            features = tf.train.Features(feature=feature)
            out.write(tf.train.Example(features=features).SerializeToString())
    left, right = (
        opened(
            f"tfrecord:{tmp_path}/a.tfrecord",
            tfrecord_image_key=key,
            tfrecord_label_key="",
        )
        for key in ("left", "right")
    )
    assert (left.ids == right.ids).all()
    assert fingerprint(left) != fingerprint(right)


def test_drawn_pictures_have_none_to_read():
    assert fingerprint(open_source("shapes:50", "train", image_size=16)) == fingerprint(
        open_source("shapes:50", "train", image_size=16)
    )
