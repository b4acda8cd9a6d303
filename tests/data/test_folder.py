import os

import numpy as np
import pytest
import tensorflow as tf

from tfssl.data import Folder, open_source, parse_split
from tfssl.errors import DataError


def folder(path, split="train"):
    return Folder(str(path), parse_split(split))


def read(source):
    dataset = tf.data.Dataset.range(source.num_examples).map(source.example)
    return list(dataset.as_numpy_iterator())


def test_split_folders_give_splits_and_one_numbering_of_classes(tmp_path, files):
    files.tree(tmp_path, ["ant", "bee", "cat"], 4, "train")
    files.tree(tmp_path, ["bee", "cat"], 2, "val")  # no ants held out
    train, val = folder(tmp_path), folder(tmp_path, "validation")
    assert train.num_examples == 12 and val.num_examples == 4
    assert train.class_names == val.class_names == ("ant", "bee", "cat")
    assert train.num_classes == 3 and set(val.labels) == {1, 2}
    for source in (train, val):
        for row, path, label in zip(
            read(source), source.paths, source.labels, strict=True
        ):
            assert row["label"] == label
            assert source.class_names[label] == path.split("/")[1]
    assert sorted(folder(tmp_path, "test").paths) == sorted(val.paths)


def test_pixels_belong_to_the_path(tmp_path, files):
    files.tree(tmp_path, ["a", "b"], 10)
    source = folder(tmp_path, "all")
    for row, path in zip(read(source), source.paths, strict=True):
        label, number = "ab".index(path[0]), int(path[2:5])
        expected = files.picture(label * 1000 + number)
        np.testing.assert_array_equal(row["image"], expected)


def test_a_tenth_is_held_out_for_good(tmp_path, files):
    files.tree(tmp_path, ["a", "b"], 150)
    train, test = folder(tmp_path), folder(tmp_path, "test")
    assert 10 <= test.num_examples <= 60  # binomial of 300 and 1/10
    assert train.num_examples + test.num_examples == 300
    assert not set(train.paths) & set(test.paths)
    assert folder(tmp_path, "all").num_examples == 300
    held_out = set(test.paths)
    files.tree(tmp_path, ["c"], 100)
    assert held_out <= set(folder(tmp_path, "test").paths)


def test_order_mixes_classes_and_slices_agree(tmp_path, files):
    files.tree(tmp_path, ["a", "b", "c"], 40, "train")
    files.tree(tmp_path, ["a", "b", "c"], 40, "test")
    whole, some = folder(tmp_path), folder(tmp_path, "train[:25%]")
    assert some.paths == whole.paths[:30] and set(some.labels) == {0, 1, 2}
    rest = folder(tmp_path, "train[25%:]")
    assert some.paths + rest.paths == whole.paths
    ids = [row["id"] for s in (whole, folder(tmp_path, "test")) for row in read(s)]
    assert len(set(ids)) == 240 and min(ids) >= 0
    assert [row["id"] for row in read(some)] == ids[:30]


def test_all_with_split_folders_keeps_the_labels(tmp_path, files):
    files.tree(tmp_path, ["a", "b"], 3, "train")
    files.tree(tmp_path, ["a", "b"], 2, "test")
    source = folder(tmp_path, "all")
    assert source.num_examples == 10 and source.class_names == ("a", "b")
    named = [source.paths[i].split("/")[1] for i in range(10)]
    assert [source.class_names[label] for label in source.labels] == named


def test_no_class_folders_no_labels(tmp_path, files):
    files.hostile(tmp_path / "only_one_folder")
    (tmp_path / "docs").mkdir()  # holds no image: no class
    source = folder(tmp_path, "all")
    assert source.num_classes is None and source.class_names == ()
    assert set(source.labels) == {-1}


def test_deep_trees_take_the_top_folder_and_strays_have_no_label(tmp_path, files):
    files.tree(tmp_path, ["x", "y"], 3, "a/deep")
    files.tree(tmp_path, ["z"], 2, "b")
    (tmp_path / "stray.png").write_bytes(files.encoded(files.picture(5), "PNG"))
    source = folder(tmp_path, "all")
    assert source.class_names == ("a", "b")
    assert sorted(source.labels) == [-1] + [0] * 6 + [1] * 2


def test_hidden_other_and_looped_files_are_counted(tmp_path, files):
    files.tree(tmp_path, ["a", "b"], 3)
    (tmp_path / ".DS_Store").write_bytes(b"x")
    (tmp_path / "notes.txt").write_bytes(b"x")
    (tmp_path / "a" / "loop").symlink_to(tmp_path, target_is_directory=True)
    source = folder(tmp_path, "all")
    assert source.num_examples == 6
    tally = source.tally
    assert (sum(tally.hidden.values()), tally.loops, tally.other) == (1, 1, {".txt": 1})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_files_without_permission(tmp_path, files):
    files.tree(tmp_path, ["a", "b"], 3)
    (tmp_path / "a" / "000.png").chmod(0)
    source = folder(tmp_path, "all")
    reason = source.failed(source.paths.index("a/000.png"))
    assert "Permission denied" in reason


def test_reasons_are_written_down_once(tmp_path, files):
    _, bad = files.hostile(tmp_path)
    source = folder(tmp_path, "all")
    for _ in range(2):
        for name in bad:
            assert name in source.failed(source.paths.index(name))
    listed = {os.path.basename(s["path"]): s["reason"] for s in source.skipped()}
    assert sorted(listed) == bad
    assert listed["empty.jpg"] == "empty file"
    assert all(listed.values())


@pytest.mark.parametrize("make", [True, False])
def test_empty_or_missing(tmp_path, make):
    path = tmp_path / "nothing"
    if make:
        path.mkdir()
        (path / "notes.txt").write_bytes(b"x")
        (path / "table.csv").write_bytes(b"x")
    with pytest.raises(DataError) as error:
        open_source(f"folder:{path}", "train", image_size=32)
    assert str(path) in str(error.value)
    if make:
        assert "2 other files" in str(error.value) and ".webp" in str(error.value)


def test_unknown_split_and_relative_directories(tmp_path, files):
    files.tree(tmp_path, ["a", "b"], 12, "pets")
    with pytest.raises(DataError, match="--?split|split=trian"):
        folder(tmp_path / "pets", "trian")
    source = open_source("folder:pets", "all", image_size=8, data_dir=str(tmp_path))
    assert source.num_examples == 24
    assert open_source("folder:pets", "a", image_size=8, data_dir=str(tmp_path))


def test_several_folders_are_one_data_set(tmp_path, files):
    files.tree(tmp_path / "one", ["ant", "bee"], 30)
    files.tree(tmp_path / "two", ["bee", "cat"], 30)  # the same names of files
    one, both = (
        open_source(f"folder:{paths}", "all", image_size=8, memory=0)
        for paths in (tmp_path / "one", f"{tmp_path}/one,{tmp_path}/two")
    )
    assert both.num_examples == 120 and both.class_names == ("ant", "bee", "cat")
    assert len(set(both.ids)) == 120 and set(one.ids) < set(both.ids)
    for row, path, label in zip(read(both), both.paths, both.labels, strict=True):
        assert both.class_names[label] == path.split("/")[-2]
        assert row["label"] == label
    train, test = (
        Folder([str(tmp_path / "one"), str(tmp_path / "two")], parse_split(split))
        for split in ("train", "test")
    )
    assert not set(train.paths) & set(test.paths)
    assert train.num_examples + test.num_examples == 120
    alone = Folder(str(tmp_path / "one"), parse_split("test"))
    assert {f"{tmp_path}/one/{path}" for path in alone.paths} <= set(test.paths)


def test_a_comma_in_a_name_and_one_folder_in_another(tmp_path, files):
    files.tree(tmp_path, ["a", "b"], 3, "cats,dogs")
    name = f"{tmp_path}/cats,dogs"
    assert open_source(f"folder:{name}", "all", image_size=8).num_examples == 6
    (tmp_path / "link").symlink_to(tmp_path / "cats,dogs")
    for second in ("cats,dogs/a", "link"):
        with pytest.raises(DataError, match="one in the other"):
            Folder([name, str(tmp_path / second)], parse_split("all"))
