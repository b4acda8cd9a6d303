"""`arrays:`: what is read out of files of arrays, and what is refused on opening."""

import os
import pickle
import zipfile

import numpy as np
import pytest
import tensorflow as tf

from tfssl.config.dataset_name import missing
from tfssl.data import in_memory, open_source, require_labels, spread
from tfssl.data.arrays import Arrays
from tfssl.errors import DataError

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (20, 6, 5, 3), np.uint8)
LABELS = np.arange(20) % 3


def opened(path, split="all", **options):
    return open_source(f"arrays:{path}", split, image_size=8, memory=0, **options)


def rows(source):
    dataset = tf.data.Dataset.range(source.num_examples).map(source.example)
    return list(dataset.as_numpy_iterator())


def hdf5(path, **arrays):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array


def save_folder(path, **arrays):
    path.mkdir()
    for name, array in arrays.items():
        np.save(path / f"{name}.npy", array)


SAVE = {
    "npz": lambda p, **a: np.savez(p, **a),
    "packed.npz": lambda p, **a: np.savez_compressed(p, **a),
    "h5": hdf5,
    "folder": save_folder,
}


@pytest.mark.parametrize("kind", SAVE)
def test_every_kind_holds_the_same(kind, tmp_path):
    path = tmp_path / f"set.{kind}" if "." in kind or kind == "h5" else tmp_path / kind
    path = tmp_path / "set.npz" if kind == "npz" else path
    SAVE[kind](path, images=IMAGES, labels=LABELS)
    source = opened(path)
    assert source.class_names == ("0", "1", "2") and source.num_classes == 3
    found = rows(source)
    np.testing.assert_array_equal([row["image"] for row in found], IMAGES)
    np.testing.assert_array_equal([row["label"] for row in found], LABELS)
    np.testing.assert_array_equal(source.ids, [row["id"] for row in found])
    # The images of an array that is not compressed stay in the file.
    assert isinstance(source._images, np.memmap) == (kind != "packed.npz")
    train, test = opened(path, "train"), opened(path, "test")
    assert sorted([*train.ids, *test.ids]) == list(range(20)) and test.num_examples
    assert "a tenth of the rows" in train.summary().text
    kept = in_memory(source)
    np.testing.assert_array_equal(kept.pixels(), IMAGES)
    assert source.where(3).endswith("images[3]")


def test_chunked_hdf5_is_read_by_the_row(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("train/images", data=IMAGES, chunks=(4, 6, 5, 3),
                            compression="gzip")  # fmt: skip
        file["train/labels"] = np.array(["cat", "dog"] * 10, h5py.string_dtype())
        file["test/images"], file["test/labels"] = IMAGES[:4], ["dog", "cow"] * 2
    train, test = (opened(tmp_path / "a.h5", split) for split in ("train", "test"))
    np.testing.assert_array_equal([row["image"] for row in rows(train)], IMAGES)
    assert train.class_names == ("cat", "dog")
    assert test.labels.tolist() == [1, -2, 1, -2]
    assert test.unknown_classes == ("cow",)  # no class of training
    assert "no such class: 2 cow" in test.summary().text
    assert not set(train.ids) & set(test.ids)


@pytest.mark.parametrize(
    ("names", "split", "count"),
    [
        (("x_train", "y_train", "x_test", "y_test"), "test", 5),
        (("train_images", "train_labels", "val_images", "val_labels"), "test", 5),
        (("images", "labels", "test_images", "test_labels"), "train", 15),
        (("data", "target", "data_extra", "target_extra"), "extra", 5),
    ],
)
def test_names_say_what_an_array_is(names, split, count, tmp_path):
    parts = IMAGES[:15], LABELS[:15], IMAGES[15:], LABELS[15:, None]
    np.savez(tmp_path / "a.npz", **dict(zip(names, parts, strict=True)), other=[1])
    source = opened(tmp_path / "a.npz", split)
    assert source.num_examples == count and (source.labels >= 0).all()
    assert "not used: other" in source.summary().text
    with pytest.raises(DataError, match="split of arrays"):
        opened(tmp_path / "a.npz", "all")


def test_split_in_the_path_and_slices(tmp_path):
    for split, part in (("train", slice(0, 12)), ("val", slice(12, 20))):
        np.savez(tmp_path / f"{split}.npz", images=IMAGES[part], labels=LABELS[part])
    path = "{split}.npz"
    train, test = (opened(path, s, data_dir=str(tmp_path)) for s in ("train", "test"))
    assert (train.num_examples, test.num_examples) == (12, 8)
    assert not set(train.ids) & set(test.ids)
    part = opened(path, "train[3:50%]", data_dir=str(tmp_path))
    np.testing.assert_array_equal(part.ids, train.ids[3:6])
    assert missing(f"arrays:{path}", str(tmp_path)) == []
    assert missing("arrays:gone.npz", str(tmp_path)) == [f"{tmp_path}/gone.npz"]


def test_npy_with_labels_beside_it(tmp_path):
    np.save(tmp_path / "photos.npy", IMAGES)
    assert opened(tmp_path / "photos.npy").num_classes is None
    np.save(tmp_path / "photos_labels.npy", LABELS)
    assert opened(tmp_path / "photos.npy").num_classes == 3


def test_channels(tmp_path):
    grey = IMAGES[..., 0]
    for name, images in {
        "flat": grey,
        "one": grey[..., None],
        "alpha": np.concatenate([np.repeat(grey[..., None], 3, 3), IMAGES[..., :1]], 3),
    }.items():
        np.save(tmp_path / f"{name}.npy", images)
        found = np.stack(
            [row["image"] for row in rows(opened(tmp_path / f"{name}.npy"))]
        )
        np.testing.assert_array_equal(found, np.repeat(grey[..., None], 3, axis=3))


def test_several_labels(tmp_path):
    targets = RNG.integers(0, 2, (20, 4))
    names = np.array(["a", "b", "c", "d"])
    np.savez(tmp_path / "a.npz", images=IMAGES, labels=targets, class_names=names)
    source = opened(tmp_path / "a.npz")
    assert source.num_classes is None and (source.labels == -1).all()
    np.testing.assert_array_equal(source.several.targets, targets)
    assert source.several.class_names == tuple(names)
    part = spread(source, 5)
    np.testing.assert_array_equal(part.several.targets, targets[::4])
    np.testing.assert_array_equal(in_memory(source).several.targets, targets)
    assert f"4 classes ({max(targets.sum(0))} " in source.summary().text
    with pytest.raises(DataError, match="mode=transfer"):
        require_labels(source, "mode=linear")


def test_one_hot_rows_are_one_label(tmp_path):
    np.savez(tmp_path / "a.npz", images=IMAGES, labels=np.eye(3)[LABELS])
    source = opened(tmp_path / "a.npz")
    np.testing.assert_array_equal(source.labels, LABELS)
    assert source.several is None


def test_labels_of_two_forms_are_one_class_and_one_class_is_said(tmp_path):
    texts = np.array(["h\xe4rte", "ha\u0308rte", "b ", "b"] * 5)
    np.savez(tmp_path / "a.npz", images=IMAGES, labels=texts)
    source = opened(tmp_path / "a.npz")
    assert source.class_names == ("b", "h\xe4rte")
    assert source.labels.tolist() == [1, 1, 0, 0] * 5
    np.savez(tmp_path / "b.npz", images=IMAGES, labels=0 * LABELS)
    assert "labels of 1 class" in opened(tmp_path / "b.npz").summary().text


class Trap:
    def __reduce__(self):
        return os.mkdir, (os.environ["TRAP"],)


def trapped(path):
    array = np.array([Trap()] * 20, object)
    np.savez(path / "a.npz", images=IMAGES, labels=array)


def pickled(path):
    (path / "a.npy").write_bytes(pickle.dumps([Trap()]))


def cut(path):
    np.save(path / "b.npy", IMAGES)
    (path / "a.npy").write_bytes((path / "b.npy").read_bytes()[:-1])
    os.remove(path / "b.npy")


def lying(path):
    """A member whose header claims more than there is."""
    np.save(path / "b.npy", IMAGES)
    data = (path / "b.npy").read_bytes().replace(b"(20,", b"(99,")
    with zipfile.ZipFile(path / "a.npz", "w") as file:
        file.writestr("images.npy", data)


def objects_in_hdf5(path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path / "a.h5", "w") as file:
        file["images"] = IMAGES
        kind = h5py.vlen_dtype(np.int32)
        file.create_dataset("labels", (20,), kind)


def empty_in_hdf5(path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path / "a.h5", "w") as file:
        file["images"] = IMAGES
        file["labels"] = h5py.Empty("i8")


def saved(**arrays):
    return lambda path: np.savez(path / "a.npz", **arrays)


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (trapped, "labels.*pickled Python objects"),
        (pickled, "a.npy"),
        (cut, "the file ends before"),
        (lying, "images .*bytes"),
        (objects_in_hdf5, "objects"),
        (empty_in_hdf5, "labels"),
        (lambda p: (p / "a.npz").write_bytes(b"PK nothing"), "not a zip"),
        (lambda p: (p / "a.h5").write_bytes(b"nothing"), "a.h5"),
        (saved(images=IMAGES / 255), r"float64; expected uint8.*round"),
        (saved(images=IMAGES.astype(np.uint16)), "uint16; expected uint8.*0 to 255"),
        (saved(images=IMAGES, labels=LABELS * 1e300), "whole numbers"),
        (saved(images=IMAGES, labels=np.full(20, 2**63, np.uint64)), "whole numbers"),
        (saved(images=IMAGES[0, 0]), r"shape \[5, 3\]"),
        (saved(images=IMAGES[:0]), r"shape \[0,"),
        (saved(images=IMAGES.transpose(0, 3, 1, 2)[..., :4, :2]), "transpose"),
        (saved(pictures=IMAGES), "pictures.*named images"),
        (saved(images=IMAGES, labels=LABELS[:9]), "9 labels for 20 images"),
        (saved(images=IMAGES, labels=LABELS - 2), "from -2"),
        (saved(images=IMAGES, labels=LABELS + 0.5), "whole numbers"),
        (saved(images=IMAGES, labels=np.full(20, np.nan)), "whole numbers"),
        (saved(images=IMAGES, labels=LABELS, class_names=["a", "b"]), "label 2 with 2"),
        (saved(images=IMAGES, labels=LABELS, class_names=["a", "b", "b"]), "each once"),
        (saved(images=IMAGES, labels=np.full((20, 4), 2)), "0 and 1"),
        (saved(x_train=IMAGES, y_train=LABELS, x_test=IMAGES,
               y_test=LABELS.astype(str)), "labels of one kind"),
    ],
)  # fmt: skip
def test_refused_on_opening(write, words, tmp_path, monkeypatch):
    monkeypatch.setenv("TRAP", str(tmp_path / "code_has_run"))
    write(tmp_path)
    (path,) = [p for p in tmp_path.iterdir() if p.name.startswith("a.")]
    two = "labels of one" in words
    with pytest.raises(DataError, match=words) as error:
        opened(path, "test" if two else "all")
    assert "expected" in str(error.value) and "try" in str(error.value)
    assert not (tmp_path / "code_has_run").exists()


def test_too_many_pixels_and_no_file(tmp_path):
    np.save(tmp_path / "a.npy", IMAGES)
    with pytest.raises(DataError, match="6 x 5 pixels.*max_image_pixels"):
        opened(tmp_path / "a.npy", max_pixels=29)
    with pytest.raises(DataError, match="existing path"):
        opened(tmp_path / "b.npy")
    with pytest.raises(DataError, match="arrays:FILE"):
        open_source("arrays:", "train", image_size=8)


def test_a_row_that_cannot_be_read_is_named(tmp_path):
    np.save(tmp_path / "a.npy", IMAGES)
    source = opened(tmp_path / "a.npy")
    assert isinstance(source, Arrays)
    source._images = IMAGES[:12]
    with pytest.raises(tf.errors.OpError):
        rows(source)
    assert "images[13] (" in source.failed(13)
    assert [row["path"] for row in source.skipped()] == [source.where(13)]
