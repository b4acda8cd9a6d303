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


@pytest.mark.parametrize("tops", [("archive",), ("images", "labels"), ("a b c",)])
def test_a_folder_around_the_splits_is_refused_with_advice_that_works(tmp_path, tops):
    for split in ("Train", "valid"):
        for name in ("cat", "dog"):
            fill(tmp_path / tops[0] / split / name)
        for other in tops[1:]:  # as YOLO keeps its boxes
            (tmp_path / other / split).mkdir(parents=True)
            (tmp_path / other / split / "0.txt").write_text("0 .5 .5 1 1")
    with pytest.raises(DataError, match="holds the splits") as caught:
        opened("folder", tmp_path, "train")
    advised = str(caught.value).rpartition("dataset=folder:")[2]
    assert opened("folder", advised, "test").class_names == ("cat", "dog")


def test_splits_below_classes_are_said(tmp_path):
    for name in ("cat", "dog"):
        fill(tmp_path / name / "train")
        fill(tmp_path / name / "test")
    source = opened("folder", tmp_path, "all")
    assert source.class_names == ("cat", "dog")
    assert "cat, dog hold folders called as splits" in source.summary().text


def test_what_is_neither_class_nor_split_is_said(tmp_path):
    fill(tmp_path / "train" / "animals" / "cat")
    fill(tmp_path / "train" / "animals" / "dog")
    fill(tmp_path / "Train" / "cat")
    fill(tmp_path / "val" / "cat")
    fill(tmp_path / "extra")
    text = opened("folder", tmp_path, "train").summary().text
    assert "not read, neither training nor held out: Train, extra" in text
    assert "one class alone, animals, is no label" in text


def test_links_to_what_was_read_are_said(tmp_path):
    for name in ("cat", "dog"):
        fill(tmp_path / "train" / name)
        fill(tmp_path / "val" / name)
    os.symlink(tmp_path / "train" / "cat", tmp_path / "train" / "again")
    os.symlink(tmp_path, tmp_path / "train" / "dog" / "loop")
    source = opened("folder", tmp_path, "train")
    assert source.num_examples == 6
    assert "2 links to folders that were read already" in source.summary().text


@pytest.mark.parametrize(
    ("name", "advice"),
    [("a.HEIC", "converting the .heic files"), ("a.tif", "converting the .tif"),
     ("0a1b2c", "dataset=list:FILE"), ("a.zip", "another directory")],
)  # fmt: skip
def test_a_folder_without_images_says_what_could_be_done(tmp_path, name, advice):
    (tmp_path / name).write_bytes(PICTURE)
    with pytest.raises(DataError, match=f"0 images.*1 other files.*try {advice}"):
        opened("folder", tmp_path, "train")
    (tmp_path / "l").write_text(f"x/y\t1\n{name}\t2")
    assert opened("list", tmp_path / "l", "all").num_examples == 2


def test_folders_pipes_and_odd_files_called_as_images(tmp_path):
    fill(tmp_path / "a", 2)
    fill(tmp_path / "b" / "cat.jpg", 2)
    os.mkfifo(tmp_path / "a" / "pipe.png")
    (tmp_path / "a" / "empty.png").write_bytes(b"")
    source = opened("folder", tmp_path, "all")
    assert source.num_examples == 5 and source.class_names == ("a", "b")
    (row,) = source.skipped()
    assert row["path"].endswith("pipe.png")


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
    with pytest.raises(DataError, match="Training, trn.*renaming one of them to train"):
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
    assert source.labels.min() == -2 and source.summary().unknown == {"ant": 2}
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
     "@Recycle", "FOUND.000", "@GMT-2024.01.31-00.00.00", "~snapshot", "RECYCLED",
     "Network Trash Folder", "Temporary Items", "LOST.DIR", "PaxHeaders.4711",
     ".@__thumb", ".Spotlight-V100", "#snapshot", "$Recycle.Bin", ".ipynb_checkpoints"],
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
    "utf-16 without a mark": "a/1.png\tcat\r\nb/2.png\tdog".encode("utf-16-le"),
    "utf-16-be without a mark": "a/1.png,cat\nb/2.png,dog\n".encode("utf-16-be"),
    "utf-32": "a/1.png\tcat\nb/2.png\tdog\n".encode("utf-32"),
    "mark and windows lines": codecs.BOM_UTF8 + b"a/1.png;cat\r\nb/2.png;dog\r\n",
    "heading with a mark": codecs.BOM_UTF8
    + b"Filename,Label\na/1.png,cat\nb/2.png,dog",
    "tabs and blanks": b"a/1.png \t cat\nb/2.png\t\tdog",
    "commas behind": b"\"a/1.png\", 'cat'\nb/2.png ,dog ",
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
    [b"\x89PNG\r\n\x1a\n\0\0", b"<html>\n<body>", b"{\"a\": 1}", b"name;age\nbob;3\n",
     b"a.png,cat,train\n", b"'a.png';'cat';3", b"a.png\tcat\t0.5", b"\0\1\2\3\0\0"],
)  # fmt: skip
def test_what_is_no_list_is_refused_with_line_and_grammar(tmp_path, data):
    (tmp_path / "l").write_bytes(data)
    with pytest.raises(DataError, match=r"line \d: .*expected lines of PATH"):
        read_list(str(tmp_path / "l"))


@pytest.mark.parametrize(
    ("line", "path", "label"),
    [
        ('"a ""b"".png","cat, big"', 'a "b".png', "cat, big"),
        ("my photo.JPG,the 'cat'", "my photo.JPG", "the 'cat'"),
        ("C:\\x\\a.png\tcat", "C:\\x\\a.png", "cat"),
        ("a.b.png cat dog", "a.b.png", "cat dog"),
        ("a\u2028b.png\tna\u0308ch", "a\u2028b.png", "n\u00e4ch"),
        ("x/no_ending\tcat", "x/no_ending", "cat"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-8-sig", "utf-32"])
def test_quotes_marks_and_line_separators_inside_of_names(
    tmp_path, line, path, label, encoding
):
    (tmp_path / "l").write_bytes(f"0.png\tdog\n{line}\n".encode(encoding))
    assert read_list(str(tmp_path / "l")) == {"0.png": "dog", path: label}


@pytest.mark.parametrize("text", ["cat,x/0.png\ndog,x/1.png", "y/0.png cat\ny/1.png a"])
def test_a_list_none_of_whose_files_is_there_is_refused(tmp_path, text):
    """Label first, another folder: hours of skipped files otherwise."""
    fill(tmp_path / "x", 2)
    (tmp_path / "l").write_text(text)
    with pytest.raises(DataError, match="of 2 files, none.*data_dir=DIR"):
        opened("list", tmp_path / "l", "all")


def test_missing_files_of_a_list_are_counted_and_pipes_not_read(tmp_path):
    fill(tmp_path, 2)
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    names = ["0.png", "1.png", "2.png", "pipe.png", "folder.png"]
    (tmp_path / "l").write_text("\n".join(names))
    source = opened("list", tmp_path / "l", "all")
    assert source.num_examples == 3  # the missing one may come back
    assert "1 of the files are not there" in source.summary().text
    (one, two) = (row["path"] for row in source.skipped())
    assert one.endswith("folder.png") and two.endswith("pipe.png")


@pytest.mark.parametrize(
    ("name", "role"),
    [("Train", "train"), ("training-images", "train"), ("trainer", ""),
     ("VAL", "validation"), ("valid_set", "validation"), ("valley", ""),
     ("testing", "test"), ("tests", ""), ("evaluation", "test"), ("cat", "")],
)  # fmt: skip
def test_roles_of_names(name, role):
    assert dataset_name.role(name) == role


@pytest.mark.parametrize("kind", ["folder", "list"])
def test_a_tenth_of_a_few_files_that_is_none_is_explained(tmp_path, kind):
    fill(tmp_path / "x", 1)
    (tmp_path / "l").write_text("x/0.png\n")
    path = tmp_path / {"folder": "x", "list": "l"}[kind]
    with pytest.raises(DataError, match="1 images.*eval_split=all with train_split"):
        for split in ("train", "test"):
            opened(kind, path, split)
    assert opened(kind, path, "all").num_examples == 1
