import os

import numpy as np
import pytest
import tensorflow as tf

from tfssl.data import Folder, parse_split
from tfssl.data.memory import Decoded, in_memory
from tfssl.data.rows import CANDIDATES, fetch, fetch_or_mask


@pytest.fixture
def mixed(tmp_path, files):
    good, bad = files.hostile(tmp_path)
    return Folder(str(tmp_path), parse_split("all")), good, bad


def names(listing):
    return sorted(os.path.basename(entry["path"]) for entry in listing)


def test_training_takes_the_next_readable_one(mixed):
    source, good, bad = mixed
    n = source.num_examples
    dataset = tf.data.Dataset.range(n).map(
        lambda i: fetch(source, i), num_parallel_calls=2
    )
    seen = list(dataset.as_numpy_iterator())
    assert len(seen) == n == len(good) + len(bad)
    ids = {path: int(source.ids[i]) for i, path in enumerate(source.paths)}
    for start, row in enumerate(seen):
        used = start
        while source.paths[used % n] in bad:
            used += 1
        assert row["id"] == ids[source.paths[used % n]]
        assert row["index"] == used % n
        assert row["image"].dtype == np.uint8 and row["image"].shape[-1] == 3
    assert names(source.skipped()) == bad


def test_masks(mixed):
    source, good, bad = mixed
    dataset = tf.data.Dataset.range(source.num_examples).map(
        lambda i: fetch_or_mask(source, i)
    )
    seen = list(dataset.as_numpy_iterator())
    readable = [p for p, (_, ok) in zip(source.paths, seen, strict=True) if ok]
    assert sorted(readable) == good
    assert all(row["id"] == row["label"] == -1 for row, ok in seen if not ok)
    assert names(source.skipped()) == bad


def test_nothing_readable_is_an_error_that_names_the_files(tmp_path):
    for number in range(CANDIDATES + 3):
        (tmp_path / f"bad{number:02}.jpg").write_bytes(b"no image")
    source = Folder(str(tmp_path), parse_split("all"))
    dataset = tf.data.Dataset.range(1).map(lambda i: fetch(source, i))
    with pytest.raises(tf.errors.OpError, match="DataError: got 8 unreadable") as error:
        list(dataset)
    assert source.paths[0] in str(error.value)
    assert in_memory(source) is source


def test_a_file_that_vanishes(tmp_path, files):
    files.tree(tmp_path, ["a", "b"], 5)
    source = Folder(str(tmp_path), parse_split("all"))
    gone = source.paths[3]
    (tmp_path / gone).unlink()
    dataset = tf.data.Dataset.range(10).map(lambda i: fetch(source, i))
    assert len(list(dataset)) == 10
    [entry] = source.skipped()
    assert entry["path"].endswith(gone) and "No such file" in entry["reason"]


def test_in_memory_is_the_same_source(tmp_path, files):
    files.tree(tmp_path, ["a", "b"], 30)
    (tmp_path / "a" / "bad.jpg").write_bytes(b"no image")
    plain = Folder(str(tmp_path), parse_split("all"))
    kept = in_memory(plain)
    assert isinstance(kept, Decoded) and kept.may_fail
    assert names(kept.skipped()) == ["bad.jpg"]
    assert kept.class_names == plain.class_names and kept.name == plain.name
    for index in (*range(5), plain.paths.index("a/bad.jpg"), 60):
        index = tf.constant(index, tf.int64)
        (a, ok), (b, ok_kept) = fetch_or_mask(plain, index), fetch_or_mask(kept, index)
        assert ok == ok_kept
        for key in a:
            np.testing.assert_array_equal(a[key], b[key])


def test_in_memory_leaves_large_and_mixed_sets_alone(tmp_path, files):
    files.tree(tmp_path, ["a", "b"], 20)
    plain = Folder(str(tmp_path), parse_split("all"))
    assert in_memory(plain, budget=40 * 12 * 10 * 3 - 1) is plain
    assert isinstance(in_memory(plain, budget=40 * 12 * 10 * 3), Decoded)
    files.tree(tmp_path, ["c"], 1, size=(5, 5))
    mixed = Folder(str(tmp_path), parse_split("all"))
    assert in_memory(mixed) is mixed


def test_a_source_with_the_bare_contract_works():
    class Bare:
        name, num_examples, num_classes, class_names = "bare", 3, None, ()

        def example(self, index):
            tf.debugging.assert_less(index, tf.constant(2, tf.int64))
            image = tf.zeros([2, 2, 3], tf.uint8)
            return {"image": image, "label": tf.constant(-1, tf.int64), "id": index}

        def skipped(self):
            return []

    dataset = tf.data.Dataset.range(3).map(lambda i: fetch(Bare(), i)["id"])
    assert list(dataset.as_numpy_iterator()) == [0, 1, 0]
