"""The index of a folder: equal to a fresh scan, whatever happened since it was made."""

import logging
import os
import random
import time

import numpy as np
import pytest
import tensorflow as tf

from tests.data.test_scan import find_images
from tfssl.data import Folder, parse_split, scan
from tfssl.data.tree import Tree, path_hash


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")


def settle(root):
    """Makes all directories old, so that their times are believed."""
    old = time.time() - 1000
    for number, (path, _, _) in enumerate(os.walk(root)):
        os.utime(path, (old + number, old + number))


class Indexed:
    """A tree on disk with an index; counts the directories that an opening lists."""

    def __init__(self, base, monkeypatch):
        self.root, self.index_dir = base / "images", base / "index"
        self.listed = []
        real = scan._listed

        def counted(root, inside, signature):
            self.listed.append(inside)
            return real(root, inside, signature)

        monkeypatch.setattr(scan, "_listed", counted)
        for number in range(30):
            folder = self.root / f"c{number % 3}" / f"f{number % 6}"
            touch(folder / f"{number} ü.jpg")
        settle(self.root)

    def open(self, **options):
        """The tree, after comparing it with a scan that knows nothing."""
        expected = sorted(find_images(str(self.root)))
        self.listed.clear()
        index_dir = str(self.index_dir)
        tree = Tree(str(self.root), index_dir=index_dir, worth=1, **options)
        found = [d.path(name) for d in tree.directories for name in d.images]
        assert sorted(found) == expected
        hashes = np.array([path_hash(path) for path in found], np.int64)
        np.testing.assert_array_equal(tree.hashes, hashes.reshape(-1, 2))
        return tree

    @property
    def file(self):
        [file] = self.index_dir.iterdir()
        return file


@pytest.fixture
def indexed(tmp_path, monkeypatch):
    return Indexed(tmp_path, monkeypatch)


def test_the_second_opening_lists_nothing(indexed):
    indexed.open()
    assert len(indexed.listed) == 10
    written = indexed.file.stat().st_mtime_ns
    indexed.open()
    assert indexed.listed == []
    assert indexed.file.stat().st_mtime_ns == written
    indexed.open(rebuild=True)
    assert len(indexed.listed) == 10


def test_only_what_changed_is_listed_again(indexed):
    indexed.open()
    touch(indexed.root / "c1" / "f1" / "new.jpg")
    indexed.open()
    assert indexed.listed == ["c1/f1"]
    (indexed.root / "c1" / "f1" / "new.jpg").rename(indexed.root / "c2" / "moved.jpg")
    indexed.open()
    assert sorted(indexed.listed) == ["c1/f1", "c2"]


def test_a_change_within_a_tick_of_the_clock_is_seen(indexed):
    folder = indexed.root / "c0" / "f0"
    touch(folder / "one.jpg")
    indexed.open()
    before = folder.stat()
    touch(folder / "two.jpg")
    os.utime(folder, ns=(before.st_atime_ns, before.st_mtime_ns))
    indexed.open()
    assert "c0/f0" in indexed.listed


def test_links_that_break_and_come_back(indexed):
    outside = indexed.root.parent / "outside"
    (indexed.root / "c0" / "link.jpg").symlink_to(outside / "a.jpg")
    (indexed.root / "linked").symlink_to(outside)
    settle(indexed.root)
    assert len(indexed.open().tally("").unreadable) == 2
    touch(outside / "a.jpg")
    assert indexed.open().tally("").unreadable == {}


def test_any_history_gives_what_a_fresh_scan_gives(indexed):
    draw = random.Random(0)
    for _ in range(25):
        folders = [path for path in indexed.root.rglob("*") if path.is_dir()]
        files = list(indexed.root.rglob("*.jpg"))
        here = draw.choice(folders)
        kind = draw.randrange(5)
        if kind == 0:
            touch(here / f"{draw.random()}.jpg")
        elif kind == 1:
            touch(here / f"d{draw.random()}" / "x.jpg")
        elif kind == 2:
            draw.choice(files).unlink()
        elif kind == 3:
            (here / f"loop{draw.random()}").symlink_to(draw.choice(folders))
        else:
            here.rename(here.with_name(f"r{draw.random()}"))
        if draw.random() < 0.5:
            settle(indexed.root)
        indexed.open()


@pytest.mark.parametrize("damage", ["cut", "flip", "text", "other"])
def test_a_damaged_index_is_made_again_with_a_word(indexed, caplog, damage):
    indexed.open()
    data = indexed.file.read_bytes()
    middle = len(data) // 2
    bad = {
        "cut": data[:middle],
        "flip": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :],
        "text": b"nonsense",
        "other": None,
    }[damage]
    if bad is None:
        np.savez(indexed.file, directories=np.zeros(3, np.uint8))
    else:
        indexed.file.write_bytes(bad)
    with caplog.at_level(logging.WARNING):
        indexed.open()
    assert "made again" in caplog.text and len(indexed.listed) == 10
    caplog.clear()
    indexed.open()
    assert indexed.listed == [] and not caplog.text


def test_no_index_for_few_images_and_none_where_nothing_can_be_written(
    indexed, tmp_path, caplog
):
    Tree(str(indexed.root), index_dir=str(indexed.index_dir))
    assert not indexed.index_dir.exists()
    touch(tmp_path / "a file")
    tree = Tree(str(indexed.root), index_dir=str(tmp_path / "a file"), worth=1)
    assert len(tree.hashes) == 30
    assert "index not kept" in caplog.text and "index_dir" in caplog.text


def test_remote_folders(files, tmp_path, caplog):
    """TensorFlow's own file system in memory stands in for an object store."""
    root = "ram://bucket/photos"
    files.tree(tmp_path, ["a", "b"], 20)
    for path in find_images(str(tmp_path)):
        tf.io.gfile.makedirs(f"{root}/{os.path.dirname(path)}")
        tf.io.gfile.copy(str(tmp_path / path), f"{root}/{path}", overwrite=True)
    options = {"index_dir": "ram://bucket/index", "worth": 1}
    local = Folder(str(tmp_path), parse_split("train"))
    remote = Folder(root, parse_split("train"), **options)
    assert remote.paths == local.paths and remote.class_names == ("a", "b")
    np.testing.assert_array_equal(remote.ids, local.ids)
    pairs = [
        list(tf.data.Dataset.range(3).map(source.example).as_numpy_iterator())
        for source in (local, remote)
    ]
    for one, other in zip(*pairs, strict=True):
        np.testing.assert_array_equal(one["image"], other["image"])
    assert not caplog.text
    tf.io.gfile.copy(f"{root}/{local.paths[0]}", f"{root}/a/new.png")
    assert Folder(root, parse_split("all"), **options).num_examples == 40
    assert "rebuild_index=True" in caplog.text
    rebuilt = Folder(root, parse_split("all"), rebuild=True, **options)
    assert rebuilt.num_examples == 41
