"""Labels by name: between splits, between data sets, whatever kind each of them is."""

import itertools
import os

import numpy as np
import pytest
import tensorflow as tf

from tests.gallery import saved
from tfssl.data import (
    every_class,
    in_classes,
    open_source,
    targets_of,
    tfrecord_write,
)  # fmt: skip
from tfssl.data.classes import renumbered
from tfssl.data.tfrecord_index import sidecar
from tfssl.data.tfrecord_write import Settings
from tfssl.errors import DataError
from tfssl.runs.scores import Counts

COLOURS = {"ant": 40, "caf\u00e9": 90, "dog": 140, "eel": 190}
TRAIN = ("caf\u00e9", "dog", "eel")
HELD_OUT = ("ant", "cafe\u0301", "dog")  # one that training lacks, one spelled apart


def colour(name):
    return COLOURS[name.replace("e\u0301", "\u00e9")]


def fill(folder, names, count=3):
    for name in names:
        os.makedirs(folder / name, exist_ok=True)
        pixels = np.full((8, 8, 3), colour(name), np.uint8)
        for number in range(count):
            (folder / name / f"{number}.png").write_bytes(saved(pixels, "PNG"))


def of(spec, split="all", **options):
    return open_source(spec, split, image_size=8, memory=0, **options)


def folder(root, names):
    fill(root / "f", names)
    return of(f"folder:{root}/f")


def listed(root, names):
    fill(root / "l", names)
    lines = [f"l/{n}/{i}.png\t{n}" for n, i in itertools.product(names, range(3))]
    (root / "list.txt").write_text("\n".join(lines), "utf-8")
    return of(f"list:{root}/list.txt")


def written(source, out, split, shards=1):
    settings = Settings("any", split, shards)
    tfrecord_write.begin(source, settings, out)
    for number in range(shards):
        tfrecord_write.write_shard(source, settings, out, number)
    return tfrecord_write.end(source, settings, out)


def records(root, names):
    written(folder(root, names), str(root / "r"), "train")
    return of(f"tfrecord:{root}/r/train-*")


def records_with_a_list(root, names):
    source = records(root, names)
    os.unlink(root / "r" / "manifest.json")
    lines = [f"{number}:{name}" for number, name in enumerate(source.class_names)]
    (root / "r" / "labels.txt").write_text("\n".join(lines), "utf-8")
    return of(f"tfrecord:{root}/r/train-*")


def prepared(root, names):
    tfds = pytest.importorskip("tensorflow_datasets")
    pytest.importorskip("array_record")

    class Colours(tfds.core.GeneratorBasedBuilder):
        __module__ = "colours"
        name = "colours_train" if names == TRAIN else "colours_held_out"
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = {
                "image": tfds.features.Image(shape=(8, 8, 3)),
                "label": tfds.features.ClassLabel(names=sorted(names)),
            }
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features),
                supervised_keys=("image", "label"),
            )  # fmt: skip

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for n, (name, _) in enumerate(itertools.product(names, range(3))):
                pixels = np.full((8, 8, 3), colour(name), np.uint8)
                yield n, {"image": pixels, "label": name}

    builder = Colours(data_dir=str(root / "t"), file_format="array_record")
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(try_download_gcs=False)
    )
    return of(f"tfds:{Colours.name}", "train", data_dir=str(root / "t"))


def arrays(root, names):
    labels = np.repeat(names, 3)
    images = [np.full((8, 8, 3), colour(name), np.uint8) for name in labels]
    np.savez(root / "a.npz", images=np.stack(images), labels=labels)
    return of(f"arrays:{root}/a.npz")


KINDS = {
    "arrays": arrays,
    "folder": folder,
    "list": listed,
    "tfrecord": records,
    "tfrecord with a list": records_with_a_list,
    "tfds": prepared,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return {
        (kind, names): make(tmp_path_factory.mktemp("of"), names)
        for kind, make in KINDS.items()
        for names in (TRAIN, HELD_OUT)
    }


def agrees(source, names):
    """Every label is that of the picture's colour, by name."""
    found = [source.example(tf.constant(i, tf.int64)) for i in range(len(source.ids))]
    for index, example in enumerate(found):
        label = int(example["label"])
        assert label == source.labels[index]
        name = names[label] if label >= 0 else source.unknown_classes[-2 - label]
        assert name == source.class_of(index)
        assert colour(name) == int(example["image"][0, 0, 0])
    return source


@pytest.mark.parametrize("held_out", KINDS)
@pytest.mark.parametrize("train", KINDS)
def test_every_kind_is_scored_by_the_names_of_every_other(made, train, held_out):
    names = made[train, TRAIN].class_names
    assert len(agrees(made[train, TRAIN], names).labels) == 9
    source = agrees(in_classes(made[held_out, HELD_OUT], names), names)
    assert source.class_names == names and source.unknown_classes == ("ant",)
    counts = Counts.of(source.labels, len(names))
    assert (counts.scored, counts.unknown_classes, counts.unlabelled) == (6, 3, 0)
    summary = source.summary()
    assert summary.unknown == {"ant": 3} and summary.unlabelled == 0
    assert "training has no such class: 3 ant" in summary.text
    assert in_classes(source, names) is source
    assert every_class(source).class_of(0) == source.class_of(0)
    assert every_class(source).labels.min() >= 0


def test_numbers_names_and_what_has_no_label():
    labels = np.array([2, 0, -1, 1, 2, -5])
    found, unknown = renumbered(labels, ["b", "x", "a", "never"], ["a", "b"])
    assert found.tolist() == [0, 1, -1, -2, 0, -1] and unknown == ("x",)


def test_a_class_that_is_unknown_and_an_image_without_one_are_counted_apart(tmp_path):
    fill(tmp_path / "train", TRAIN)
    fill(tmp_path / "val", HELD_OUT, 2)
    (tmp_path / "val" / "stray.png").write_bytes(
        saved(np.zeros((8, 8, 3), np.uint8), "PNG")
    )
    source = of(f"folder:{tmp_path}", "test")
    counts = Counts.of(source.labels, 3)
    assert str(counts) == (
        "4 of 7 images (1 without a label, 2 of classes that training lacks)"
    )


@pytest.mark.parametrize("order", [("train", "val"), ("val", "train")])
@pytest.mark.parametrize("kept", [True, False])
def test_records_of_splits_with_other_classes_are_read_by_name(tmp_path, order, kept):
    """Written one by one, from two folders that number their classes apart."""
    out = str(tmp_path / "out")
    for split in order:
        names = TRAIN if split == "train" else HELD_OUT
        written(folder(tmp_path / split, names), out, split)
        if not kept:
            os.unlink(sidecar(f"{out}/{split}-00000-of-00001.tfrecord"))
    train, held_out = (of(f"tfrecord:{out}/{{split}}-*", s) for s in ("train", "test"))
    agrees(train, train.class_names)
    agrees(held_out, train.class_names)
    assert held_out.unknown_classes == ("ant",)


@pytest.mark.parametrize("kept", [True, False])
def test_records_keep_the_classes_that_training_lacks(tmp_path, kept):
    fill(tmp_path / "x" / "train", TRAIN)
    fill(tmp_path / "x" / "val", HELD_OUT)
    out = str(tmp_path / "out")
    for split in ("train", "val"):
        written(of(f"folder:{tmp_path}/x", split), out, split)
    if not kept:
        os.unlink(sidecar(f"{out}/val-00000-of-00001.tfrecord"))
    for beside in (".DS_Store", "desktop.ini", "README.md"):
        (tmp_path / "out" / beside).write_text("no records")
    source = of(f"tfrecord:{out}/{{split}}*", "test")
    assert source.summary().unknown == {"ant": 3}
    agrees(source, TRAIN)


def test_numbers_are_names_where_there_are_no_others(tmp_path):
    out = str(tmp_path / "out")
    for split, names in (("train", TRAIN), ("val", (*TRAIN, "ant"))):
        written(folder(tmp_path / split, names), out, split)
    os.unlink(f"{out}/manifest.json")
    source = of(f"tfrecord:{out}/{{split}}-*", "test")
    assert source.class_names == ("0", "1", "2")
    assert source.summary().unknown == {"3": 3}


def test_columns_of_several_labels_are_found_by_name(tmp_path):
    has = np.array([[1, 0, 1], [0, 1, 1], [1, 1, 0], [0, 0, 1]])
    names = np.array(["eel", "cafe\u0301", "ant"])
    images = np.zeros([4, 8, 8, 3], np.uint8)
    np.savez(tmp_path / "a.npz", images=images, labels=has, class_names=names)
    source = open_source(f"arrays:{tmp_path}/a.npz", "all", image_size=8, memory=0)
    wanted = ("ant", "caf\u00e9", "dog", "eel")
    columns = [has[:, 2], has[:, 1], np.full(4, -1), has[:, 0]]
    want = np.stack(columns, 1)[[2, 0]]
    np.testing.assert_array_equal(targets_of(source, source.ids[[2, 0]], wanted), want)
    with pytest.raises(DataError, match="without any of the classes"):
        targets_of(source, source.ids, ("dog",))
