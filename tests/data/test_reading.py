"""How folders and lists are read: splits, classes, leftovers, and what is said."""

import codecs
import os

import numpy as np
import pytest

from tests.gallery import saved, smooth
from tfssl.config import dataset_name
from tfssl.data import open_source
from tfssl.data.file_list import read_list
from tfssl.errors import DataError

PICTURE = saved(smooth(8, 8), "PNG")


def fill(folder, count=3):
    os.makedirs(folder, exist_ok=True)
    for number in range(count):
        with open(os.path.join(folder, f"{number}.png"), "wb") as file:
            file.write(PICTURE)


def opened(kind, path, split):
    return open_source(f"{kind}:{path}", split, image_size=32, memory=0)


@pytest.mark.parametrize(
    ("train", "held_out"),
    [
        ("train", "val"),
        ("Train", "Valid"),
        ("TRAIN", "TEST"),
        ("Training", "Testing"),
        ("trn", "dev"),
        ("training_set", "test_set"),
        ("TrainImages", "EvalData"),
    ],
)
def test_splits_are_known_by_any_usual_name(tmp_path, train, held_out):
    for name in ("cat", "dog"):
        fill(tmp_path / train / name, 3)
        fill(tmp_path / held_out / name, 2)
    first, second = (opened("folder", tmp_path, split) for split in ("train", "test"))
    assert (first.num_examples, second.num_examples) == (6, 4)
    assert first.class_names == second.class_names == ("cat", "dog")
    assert held_out in first.summary().text
    assert first.summary().classes == {"cat": 3, "dog": 3}


@pytest.mark.parametrize("name", ["train", "test", "Val"])
def test_a_class_may_be_called_as_a_split(tmp_path, name):
    for folder in ("bus", "car", name):
        fill(tmp_path / folder, 10)
    source = opened("folder", tmp_path, "train")
    assert source.class_names == tuple(sorted(["bus", "car", name]))
    assert f"{name} is a class" in source.summary().text


def test_two_folders_for_one_split_are_refused_unless_one_is_spelled_so(tmp_path):
    for name in ("Training", "trn", "val"):
        fill(tmp_path / name / "a")
        fill(tmp_path / name / "b")
    with pytest.raises(DataError, match="Training, trn"):
        opened("folder", tmp_path, "train")
    fill(tmp_path / "train" / "a", 7)
    assert opened("folder", tmp_path, "train").num_examples == 7


def test_classes_that_training_does_not_know_have_no_label(tmp_path):
    for name in ("cat", "dog"):
        fill(tmp_path / "train" / name)
        fill(tmp_path / "val" / name)
    fill(tmp_path / "val" / "ant", 2)
    source = opened("folder", tmp_path, "test")
    assert source.class_names == ("cat", "dog")
    assert np.unique(source.labels, return_counts=True)[1].tolist() == [2, 3, 3]
    assert source.summary().reading.unknown == {"ant": 2}
    assert "2 ant" in source.summary().text


def test_forms_of_unicode_are_one_class(tmp_path):
    fill(tmp_path / "train" / "caf\u00e9")
    fill(tmp_path / "train" / "dog")
    fill(tmp_path / "val" / "cafe\u0301", 2)
    source = opened("folder", tmp_path, "test")
    assert source.labels.tolist() == [0, 0]


@pytest.mark.parametrize(
    "name",
    ["@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "__MACOSX",
     ".Trash-1000", ".thumbnails", ".ipynb_checkpoints", "lost+found", ".git",
     "@Recycle", "FOUND.000"],
)  # fmt: skip
def test_leftovers_of_systems_are_no_classes(tmp_path, name):
    for folder in ("cat", "dog", name, f"{name}/cat", f"cat/{name}"):
        fill(tmp_path / folder)
    for file in ("Thumbs.db", "desktop.ini", ".DS_Store", "cat/._0.png"):
        (tmp_path / file).write_bytes(PICTURE)
    source = opened("folder", tmp_path, "all")
    assert source.class_names == ("cat", "dog") and source.num_examples == 6
    assert "left out as no data" in source.summary().text


def test_what_is_passed_over_is_counted_by_extension(tmp_path):
    fill(tmp_path / "x", 5)
    for number in range(9):
        (tmp_path / "x" / f"{number}.HEIC").write_bytes(b"x")
    summary = opened("folder", tmp_path, "all").summary()
    assert summary.reading.passed_over == {".heic": 9}
    assert "passed over 9 files (9 .heic)" in summary.text
    assert summary.as_dict()["passed_over"] == {".heic": 9}


def test_names_that_are_no_utf8_are_read_and_printable(tmp_path):
    for name in (b"caf\xe9", b"dog"):
        fill(
            os.path.join(os.fsencode(tmp_path), name).decode("utf-8", "surrogateescape")
        )
    source = opened("folder", tmp_path, "all")
    assert source.num_examples == 6
    source.summary().text.encode("utf-8")
    assert all(source.read(index) == PICTURE for index in range(6))


TEXTS = {
    "utf-8 with a mark": codecs.BOM_UTF8 + b"a/1.png\tcat\nb/2.png\tdog\n",
    "utf-16": "a/1.png\tcat\nb/2.png\tdog\n".encode("utf-16"),
    "utf-16 other end": codecs.BOM_UTF16_BE
    + "a/1.png\tcat\nb/2.png\tdog\n".encode("utf-16-be"),
    "windows lines": b"a/1.png cat\r\nb/2.png dog\r\n",
    "old macs": b"a/1.png cat\rb/2.png dog\r",
    "commas": b"a/1.png,cat\nb/2.png,dog",
    "semicolons": b"a/1.png;cat\nb/2.png;dog",
    "quotes": b"\"a/1.png\",\"cat\"\n'b/2.png','dog'",
    "heading": b"path,label\na/1.png,cat\nb/2.png,dog",
    "blanks": b"  a/1.png    cat  \n\n# no\nb/2.png  dog",
}


@pytest.mark.parametrize("kind", TEXTS)
def test_lists_are_read_however_they_were_written(tmp_path, kind):
    (tmp_path / "l").write_bytes(TEXTS[kind])
    assert read_list(str(tmp_path / "l")) == {"a/1.png": "cat", "b/2.png": "dog"}


def test_a_windows_path_and_a_name_of_other_bytes_are_found(tmp_path):
    fill(tmp_path / "x", 1)
    other = os.path.join(os.fsencode(tmp_path), b"\xe9.png")
    with open(other, "wb") as file:
        file.write(PICTURE)
    (tmp_path / "l").write_bytes(b"x\\0.png a\n\xe9.png b\n")
    source = opened("list", tmp_path / "l", "all")
    assert source.class_names == ("a", "b")
    assert all(source.read(index) == PICTURE for index in range(2))


@pytest.mark.parametrize(
    "data",
    [b"\x89PNG\r\n\x1a\n\0\0", b"<html>\n<body>", b"{\"a\": 1}", b"name;age\nbob;3\n"],
)  # fmt: skip
def test_what_is_no_list_is_refused_with_line_and_grammar(tmp_path, data):
    (tmp_path / "l").write_bytes(data)
    with pytest.raises(DataError, match=r"line \d: .*expected lines of PATH"):
        read_list(str(tmp_path / "l"))


@pytest.mark.parametrize(
    ("name", "role"),
    [("Train", "train"), ("training-images", "train"), ("trainer", ""),
     ("VAL", "validation"), ("valid_set", "validation"), ("valley", ""),
     ("testing", "test"), ("tests", ""), ("evaluation", "test"), ("cat", "")],
)  # fmt: skip
def test_roles_of_names(name, role):
    assert dataset_name.role(name) == role
