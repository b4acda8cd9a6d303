import logging

import pytest
import tensorflow as tf

from tfssl.data import open_source
from tfssl.data.file_list import read_list
from tfssl.errors import DataError


def write(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def touch(folder, *numbers):
    for number in numbers:
        (folder / f"{number}.jpg").touch()


def opened(file, split="all", **options):
    return open_source(f"list:{file}", split, image_size=8, memory=0, **options)


def read(source):
    rows = tf.data.Dataset.range(source.num_examples).map(source.example)
    return list(rows.as_numpy_iterator())


@pytest.mark.parametrize(
    ("line", "path", "label"),
    [
        ("a.jpg", "a.jpg", ""),
        ("a.jpg\tcat", "a.jpg", "cat"),
        ("a.jpg cat", "a.jpg", "cat"),
        ("my pictures/a b.JPEG   tabby cat ", "my pictures/a b.JPEG", "tabby cat"),
        ("n01440764/n01440764_10026.JPEG 0", "n01440764/n01440764_10026.JPEG", "0"),
        ("a.jpg folder/b.png", "a.jpg folder/b.png", ""),
        ("a.jpg copy.jpg\tcat", "a.jpg copy.jpg", "cat"),  # as we write lists
        ("a.jpg,b.png\tcat, dog", "a.jpg,b.png", "cat, dog"),
        ("'a'.jpg; b.png\tcat", "'a'.jpg; b.png", "cat"),
        ("no extension\t7", "no extension", "7"),
        ("/abs/x.webp -1", "/abs/x.webp", "-1"),
    ],
)
def test_grammar_of_a_line(tmp_path, line, path, label):
    assert read_list(write(tmp_path / "l", "# comment", "", line)) == {path: label}


def test_paths_labels_and_pixels(tmp_path, files):
    files.tree(tmp_path / "x", ["a", "b"], 4)
    lines = [f"{c}/{n:03}.png\t{c.upper()}" for c in "ba" for n in range(4)]
    lines.append("missing.png")
    source = opened(write(tmp_path / "x" / "list.txt", *lines))
    assert source.class_names == ("A", "B") and source.num_examples == 9
    lost = [i for i in range(9) if source.where(i).endswith("missing.png")]
    assert source.labels[lost] == [-1]
    assert "No such file" in source.failed(lost[0])
    for index in set(range(9)) - set(lost):
        [row] = tf.data.Dataset.from_tensors(tf.constant(index, tf.int64)).map(
            source.example
        )
        label, name = source.where(index).split("/")[-2:]
        assert source.class_names[row["label"]] == label.upper()
        expected = files.picture("ab".index(label) * 1000 + int(name[:3]))
        assert (row["image"].numpy() == expected).all()
    elsewhere = opened(
        write(tmp_path / "list.txt", *lines), data_dir=str(tmp_path / "x")
    )
    assert (elsewhere.ids == source.ids).all()
    assert elsewhere.where(0) == source.where(0)


def test_numbers_are_sorted_as_numbers(tmp_path):
    lines = [f"{n}.jpg {n}" for n in (10, 9, 2, 0, 1)]
    touch(tmp_path, 9)
    source = opened(write(tmp_path / "l", *lines))
    assert source.class_names == ("0", "1", "2", "9", "10")


def test_split_in_the_name_shares_classes(tmp_path):
    write(tmp_path / "train.txt", "1.jpg b", "2.jpg c")
    write(tmp_path / "val.txt", "3.jpg a")
    touch(tmp_path, 1, 2, 3)
    train, test = (opened(f"{tmp_path}/{{split}}.txt", s) for s in ("train", "test"))
    assert train.class_names == test.class_names == ("b", "c")
    assert test.labels.tolist() == [-2] and test.summary().unknown == {"a": 1}
    assert (train.num_examples, test.num_examples) == (2, 1)
    with pytest.raises(DataError, match="all.txt"):
        opened(f"{tmp_path}/{{split}}.txt", "all")


def test_a_tenth_is_held_out(tmp_path):
    file = write(tmp_path / "l", *(f"{n}.jpg" for n in range(400)))
    touch(tmp_path, *range(400))
    train, test = opened(file, "train"), opened(file, "test")
    assert 20 <= test.num_examples <= 70
    assert not set(train.ids) & set(test.ids)
    assert train.num_examples + test.num_examples == 400


def test_repeated_and_contradicting_lines(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        assert (
            len(read_list(write(tmp_path / "l", "a.jpg 1", "b.jpg 2", "a.jpg 1"))) == 2
        )
    assert "repeats 1 paths" in caplog.text
    with pytest.raises(DataError, match="a.jpg with the labels '1' and '2'.*line 2"):
        read_list(write(tmp_path / "l", "a.jpg 1", "a.jpg 2"))
    with pytest.raises(DataError, match="one image a line"):
        read_list(write(tmp_path / "l", "# nothing"))
    with pytest.raises(DataError, match="split=trian"):
        opened(write(tmp_path / "l", "a.jpg"), "trian")
    with pytest.raises(DataError, match="list:FILE"):
        opened("")
    with pytest.raises(DataError, match="folder:"):
        opened(str(tmp_path))
