"""The twelve data sets, read by their real features and splits; and one's own."""

import sys
import types

import numpy as np
import pytest

from tests.pictures import tree
from tfssl import build
from tfssl.build.transfer_folds import open_folds
from tfssl.config import Config, resolve
from tfssl.config.transfer_sets import SUITE, chosen_sets, published
from tfssl.errors import ConfigError, DataError, NotPreparedError

OFFICIAL = {
    # TFDS: official sizes of the training, validation and test splits.
    "food101": (75_750, 0, 25_250), "cifar10": (50_000, 0, 10_000),
    "cifar100": (50_000, 0, 10_000), "birdsnap": (47_386, 0, 2_443),
    "sun397": (19_850, 0, 19_850), "cars": (8_144, 0, 8_041),
    "aircraft": (3_334, 3_333, 3_333), "voc2007": (2_501, 2_510, 4_952),
    "dtd": (1_880, 1_880, 1_880), "pets": (3_680, 0, 3_669),
    "caltech101": (3_060, 0, 6_084), "flowers": (1_020, 1_020, 6_149),
}  # fmt: skip


def config(root=None, **flags):
    return resolve(Config(data_dir=str(root or ""), image_size=32, **flags))


def test_sizes_follow_from_the_official_splits():
    assert list(SUITE) == list(OFFICIAL)
    for name, (train, validation, test) in OFFICIAL.items():
        row = SUITE[name]
        assert row.test == test
        assert bool(row.validates) == bool(validation)
        if validation:
            assert (row.train, row.validation) == (train, validation)
        else:
            assert row.train + row.validation == train
    metrics = {name for name, row in SUITE.items() if row.metric == "mean_per_class"}
    assert metrics == {"aircraft", "pets", "caltech101", "flowers"}
    assert SUITE["voc2007"].metric == "map_11"


def test_what_a_name_may_be():
    rows = chosen_sets(["pets", "mine=folder:a", "dtd=list:{split}.txt", "shapes:60"])
    assert [(row.name, row.sources[-1]) for row in rows[1:]] == [
        ("mine", "folder:a"), ("dtd", "list:{split}.txt"), ("shapes:60", "shapes:60")
    ]  # fmt: skip
    assert rows[2].validates == "validation"
    assert [row.name for row in chosen_sets(["papers"])] == list(SUITE)
    with pytest.raises(ConfigError, match="voc2007.*transfer=cifar10") as error:
        chosen_sets(["cifar01", "papers", "pets", "mine=pets", "folder:"])
    assert len(error.value.problems) == 4


def test_published_numbers_stand_beside_their_backbone():
    found = published("resnet50", ["cifar10", "folder:x", "flowers"])
    assert found["BYOL resnet50, published"] == [pytest.approx(0.913), None, 0.961]
    assert found["SimCLR resnet50, published"][1:] == [None, pytest.approx(0.912)]
    assert published("resnet18", ["cifar10"]) == published("resnet50", ["mine"]) == {}


def example(tfds, feature, number):
    """Something that a feature of TFDS can hold."""
    kinds = tfds.features
    if isinstance(feature, kinds.FeaturesDict):
        return {name: example(tfds, each, number) for name, each in feature.items()}
    if isinstance(feature, kinds.Sequence):
        if isinstance(feature.feature, kinds.ClassLabel):
            return sorted({number % 3, (number + 1) % 4})
        return [example(tfds, feature.feature, number)] * 2
    if isinstance(feature, kinds.ClassLabel):
        return number % min(3, feature.num_classes)
    if isinstance(feature, kinds.Image):
        shape = [side or 32 for side in feature.shape]
        return np.full(shape, number, feature.np_dtype)
    if isinstance(feature, kinds.BBoxFeature):
        return kinds.BBox(0.0, 0.0, 1.0, 1.0)
    if isinstance(feature, kinds.Text):
        return f"name {number}"
    return np.zeros(feature.shape, feature.np_dtype)


READ_BY_TFDS = [n for n, row in SUITE.items() if row.sources[0].startswith("tfds:")]


@pytest.mark.slow
@pytest.mark.parametrize("name", READ_BY_TFDS)
def test_reads_the_real_features_and_splits(name, tmp_path, monkeypatch):
    tfds = pytest.importorskip("tensorflow_datasets")
    row = SUITE[name]
    builder = tfds.builder(row.sources[0].removeprefix("tfds:"), data_dir=tmp_path)
    splits = {"train": 20, row.tests: 8}
    splits |= {row.validates: 6} if row.validates else {}

    def examples(self, first, count):
        for number in range(first, first + count):
            yield number, example(tfds, self.info.features, number)

    def generators(self, *_, **__):
        return {
            split: self._generate_examples(100 * place, count)
            for place, (split, count) in enumerate(splits.items())
        }

    monkeypatch.setattr(type(builder), "_generate_examples", examples)
    monkeypatch.setattr(type(builder), "_split_generators", generators)
    # A package that TFDS wants for downloads, and does not install.
    stand_in = types.SimpleNamespace(abc=types.SimpleNamespace(Traversable=str))
    monkeypatch.setitem(sys.modules, "importlib_resources", stand_in)
    settings = tfds.download.DownloadConfig(try_download_gcs=False)
    builder.download_and_prepare(download_config=settings)

    folds = open_folds(config(tmp_path), SUITE[name])
    assert folds.test.num_examples == 8 and folds.metric == row.metric
    assert "the papers have" in folds.note
    if row.validates:
        assert folds.validation.num_examples == 6 and not len(folds.held_out)
    else:
        share = row.validation / (row.train + row.validation)
        assert len(folds.held_out) == max(3, round(20 * share))
    targets = folds.targets(folds.test.ids, folds.test.labels)
    if name == "voc2007":
        assert targets.shape == (8, 20) and len(folds.class_names) == 20
        assert set(np.unique(targets)) == {0, 1}
    else:
        classes = {"caltech101": 102, "flowers": 102, "sun397": 397, "cars": 196}
        assert len(folds.class_names) == classes.get(name, len(folds.class_names))
        np.testing.assert_array_equal(np.unique(targets), [0, 1, 2])
    build.how_read()


def test_what_tfds_has_not_is_folders_or_lists(tmp_path):
    (row,) = chosen_sets(["birdsnap"], str(tmp_path))
    with pytest.raises(NotPreparedError, match="birdsnap"):
        open_folds(config(tmp_path), row)
    assert "birdsnap/train" in row.prepare and "tfds build dtd" in SUITE["dtd"].prepare
    for part, count in (("train", 6), ("test", 3)):
        tree(tmp_path / "birdsnap", ["a", "b"], count, part)
    folds = open_folds(config(tmp_path), row)
    assert folds.test.num_examples == 6 and len(folds.held_out) == 2
    tree(tmp_path, ["c"], 8, "pictures")
    lines = [f"pictures/c/{n:03}.png\t{n % 2}" for n in range(8)]
    (tmp_path / "aircraft").mkdir()
    for part, some in (("train", lines[:4]), ("val", lines[4:6]), ("test", lines[6:])):
        (tmp_path / "aircraft" / f"{part}.txt").write_text("\n".join(some))
    folds = open_folds(config(tmp_path), *chosen_sets(["aircraft"], str(tmp_path)))
    assert folds.validation.num_examples == 2 and folds.metric == "mean_per_class"


def test_one_s_own_validate_with_their_split_or_a_tenth(tmp_path):
    tree(tmp_path / "a", ["x", "y"], 20, "train")
    tree(tmp_path / "a", ["x", "y"], 5, "test")
    (row,) = chosen_sets([f"folder:{tmp_path}/a"])
    folds = open_folds(config(), row)
    assert folds.validation is None and len(folds.held_out) == 4
    assert folds.metric == "top1" and "a tenth of the training" in folds.note
    tree(tmp_path / "a", ["x", "y"], 6, "val")
    folds = open_folds(config(), row)
    assert folds.validation.num_examples == 12 and not len(folds.held_out)
    assert folds.note == ""


def test_a_class_that_cannot_be_in_both_parts_is_named(tmp_path):
    tree(tmp_path, ["x", "y"], 9, "train")
    tree(tmp_path, ["rare"], 1, "train")
    tree(tmp_path, ["x", "y"], 3, "test")
    (row,) = chosen_sets([f"folder:{tmp_path}"])
    with pytest.raises(DataError, match="too few images of rare"):
        open_folds(config(), row)


def several_in(root, test_names):
    """Arrays with several labels; the test split's columns stand as its names say."""
    rng = np.random.default_rng(0)
    names = ["cat", "dog", "cow"]
    labels = rng.integers(0, 2, (40, 3))
    places = [names.index(n) if n in names else 0 for n in test_names]
    for split, columns, own in (("train", [0, 1, 2], names),
                                ("test", places, test_names)):  # fmt: skip
        images = rng.integers(0, 256, (40, 4, 4, 3), np.uint8)
        np.savez(root / f"{split}.npz", images=images, labels=labels[:, columns],
                 class_names=own)  # fmt: skip
    (row,) = chosen_sets([f"arrays:{root}/{{split}}.npz"])
    return row, labels


def test_columns_of_several_labels_are_matched_by_name(tmp_path):
    row, labels = several_in(tmp_path, ["cow", "cat", "dog"])
    folds = open_folds(config(), row)
    assert folds.class_names == ("cat", "dog", "cow")
    for source in (folds.train, folds.test):
        found = folds.targets(source.ids, source.labels)
        rows = source.ids % 2**40
        np.testing.assert_array_equal(found, labels[rows])
    row, _ = several_in(tmp_path, ["cow", "x", "y"])
    folds = open_folds(config(), row)
    found = folds.targets(folds.test.ids, folds.test.labels)
    assert (found[:, :2] == -1).all() and (found[:, 2] >= 0).all()
    columns = folds.test.several.targets.sum(0)
    assert f"not asked for: {columns[1]} of x, {columns[2]} of y" in folds.note
    row, _ = several_in(tmp_path, ["z", "x", "y"])
    with pytest.raises(DataError, match="without any of the classes"):
        open_folds(config(), row)
