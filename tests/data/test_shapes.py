import numpy as np
import pytest
import tensorflow as tf

from tfssl.data import Shapes, open_source, parse_split
from tfssl.data.drawing import class_of, draw_image
from tfssl.errors import DataError


def images(source, count):
    dataset = tf.data.Dataset.range(count).map(source.example)
    return list(dataset.as_numpy_iterator())


def test_drawn_at_opening_or_on_demand_is_the_same():
    split = parse_split("train[:24]")
    kept = Shapes(split, examples=100, image_size=24)
    drawn = Shapes(split, examples=100, image_size=24, memory=0)
    for i, (a, b) in enumerate(zip(images(kept, 24), images(drawn, 24), strict=True)):
        np.testing.assert_array_equal(a["image"], b["image"])
        np.testing.assert_array_equal(a["image"], draw_image(i, "train", 24))
        assert a["label"] == b["label"] == kept.labels[i] == class_of(i)
        assert a["id"] == b["id"]


def test_a_small_set_is_drawn_once_for_all_modes(monkeypatch):
    first = open_source("shapes:50", "train", image_size=18)
    monkeypatch.setattr("tfssl.data.drawing.draw_image", None)
    again = open_source("shapes:50", "train", image_size=18)
    for a, b in zip(images(first, 50), images(again, 50), strict=True):
        np.testing.assert_array_equal(a["image"], b["image"])


def test_a_set_that_is_read_once_is_not_drawn_at_opening(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("tfssl.data.drawing.draw_image", None)
        opened = open_source("shapes:60", "train", image_size=17, memory=0)
    (first,) = images(opened, 1)
    np.testing.assert_array_equal(first["image"], draw_image(0, "train", 17))


def test_sizes_labels_and_ids():
    train = open_source("shapes:300", "train[10%:]", image_size=16)
    test = open_source("shapes:300", "test", image_size=16)
    assert train.num_examples == 270 and test.num_examples == 200
    assert train.num_classes == test.num_classes == len(train.class_names) == 10
    ids = [e["id"] for e in images(train, 270)] + [e["id"] for e in images(test, 200)]
    assert len(set(ids)) == 470 and ids[0] == 30
    assert train.skipped() == []


@pytest.mark.parametrize("spec", ["shapes:0", "shapes:x", "shapes:-3", "shapes:1.5"])
def test_bad_counts(spec):
    with pytest.raises(DataError, match="shapes:N"):
        open_source(spec, "train", image_size=32)


def test_unknown_split_and_kind():
    with pytest.raises(DataError, match="train"):
        open_source("shapes", "trian", image_size=32)
    with pytest.raises(DataError, match="shapes"):
        open_source("shape", "train", image_size=32)
