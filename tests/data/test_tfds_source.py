import builtins

import numpy as np
import pytest
import tensorflow as tf

from tfssl.data import open_source, parse_split, training
from tfssl.data.tfds_source import TfdsSource
from tfssl.errors import DataError

tfds = pytest.importorskip("tensorflow_datasets")
TRAIN, TEST = 23, 7


def pixels(number):
    """Of mixed sizes."""
    return np.full((8 + number % 5, 9 + number % 3, 3), number, np.uint8)


class MixedSizes(tfds.core.GeneratorBasedBuilder):
    # One word: TFDS then looks for no package around this file, which would take
    # importlib_resources, a package that it does not install.
    __module__ = "mixed_sizes"
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "label": tfds.features.ClassLabel(names=["even", "odd"]),
            "note": tfds.features.Text(),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
        )

    def _split_generators(self, dl_manager):
        return {
            "train": self._generate_examples(range(TRAIN)),
            "test": self._generate_examples(range(50, 57)),
        }

    def _generate_examples(self, numbers):
        for number in numbers:
            row = {"image": pixels(number), "label": number % 2, "note": "n"}
            yield number, row


@pytest.fixture(
    scope="module",
    params=[pytest.param("tfrecord", marks=pytest.mark.slow), "array_record"],
)
def prepared(request, tmp_path_factory):
    if request.param == "array_record":
        pytest.importorskip("array_record")
    directory = str(tmp_path_factory.mktemp(request.param))
    builder = MixedSizes(data_dir=directory, file_format=request.param)
    config = tfds.download.DownloadConfig(try_download_gcs=False)
    builder.download_and_prepare(download_config=config)
    return directory, request.param


def read(source):
    dataset = tf.data.Dataset.range(source.num_examples).map(source.example)
    return list(dataset.as_numpy_iterator())


def check(rows, source, numbers):
    assert sorted(row["image"][0, 0, 0] for row in rows) == sorted(numbers)
    for row, label in zip(rows, source.labels, strict=True):
        number = row["image"][0, 0, 0]
        np.testing.assert_array_equal(row["image"], pixels(number))
        assert row["label"] == label == number % 2


def test_reads_every_example_once(prepared):
    directory, _ = prepared
    train, test = (
        open_source("tfds:mixed_sizes", split, image_size=8, data_dir=directory)
        for split in ("train", "test")
    )
    assert train.num_examples == TRAIN and test.num_examples == TEST
    assert train.num_classes == 2 and train.class_names == ("even", "odd")
    check(read(train), train, range(TRAIN))
    check(read(test), test, range(50, 57))
    ids = [row["id"] for source in (train, test) for row in read(source)]
    assert len(set(ids)) == TRAIN + TEST


def test_slices_are_slices(prepared):
    directory, _ = prepared
    whole, part = (
        TfdsSource("mixed_sizes", parse_split(split), data_dir=directory)
        for split in ("train", "train[5:50%]")
    )
    rows, some = read(whole), read(part)
    assert [row["id"] for row in some] == [row["id"] for row in rows[5:12]]
    for a, b in zip(rows[5:12], some, strict=True):
        np.testing.assert_array_equal(a["image"], b["image"])


def test_beyond_memory_examples_are_read_on_demand(prepared):
    directory, _ = prepared
    split = parse_split("train[3:]")
    kept = TfdsSource("mixed_sizes", split, data_dir=directory)
    on_demand = TfdsSource("mixed_sizes", split, data_dir=directory, memory=0)
    np.testing.assert_array_equal(kept.labels, on_demand.labels)
    for a, b in zip(read(kept), read(on_demand), strict=True):
        assert a["id"] == b["id"] and a["label"] == b["label"]
        np.testing.assert_array_equal(a["image"], b["image"])


def test_trains(prepared):
    from tfssl.augment import RECIPES

    source = open_source(
        "tfds:mixed_sizes", "train", image_size=8, data_dir=prepared[0]
    )
    stream = training(
        source, RECIPES["simclr"], seed=0, start_step=0, global_batch=4,
        replica_batch=4, image_size=8,
    )  # fmt: skip
    [batch] = stream.take(1)
    assert batch["views"].shape == (4, 2, 8, 8, 3)


@pytest.mark.slow
@pytest.mark.parametrize("memory", [2**30, 0])
def test_same_examples_after_resume_and_on_any_replicas(prepared, memory):
    from tests.data.test_order import check_order

    split = parse_split("train")
    check_order(TfdsSource("mixed_sizes", split, data_dir=prepared[0], memory=memory))


def test_errors_say_what_to_do(prepared, tmp_path):
    directory = prepared[0]
    with pytest.raises(DataError, match="test, train"):
        TfdsSource("mixed_sizes", parse_split("trian"), data_dir=directory)
    with pytest.raises(DataError, match="tfds build mixed_sizes"):
        TfdsSource("mixed_sizes", parse_split("train"), data_dir=str(tmp_path))
    with pytest.raises(DataError, match="catalog") as error:
        TfdsSource("no_such_set", parse_split("train"), data_dir=directory)
    assert len(str(error.value)) < 500
    with pytest.raises(DataError, match="tfds:NAME"):
        open_source("tfds:", "train", image_size=8)


def test_missing_package(monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **named):
        if name.startswith("tensorflow_datasets"):
            raise ImportError("No module named 'tensorflow_datasets'")
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(DataError, match="pip install tensorflow-datasets"):
        TfdsSource("mixed_sizes", parse_split("train"), data_dir=None)
