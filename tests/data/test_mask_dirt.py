"""Masks and their folders as people have them, each kind with several members."""

import os
import struct
import unicodedata
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.data.test_masks import SIZE, numbers, opened, plain, png, said, write
from tfssl.config.dataset_name import role
from tfssl.data.mask_files import header, read_mask
from tfssl.data.mask_layout import pairs
from tfssl.data.mask_reading import also_black_and_white, classes_of
from tfssl.errors import DataError

COMPOSED, APART = (unicodedata.normalize(form, "h\xe4rte") for form in ("NFC", "NFD"))


def raw_png(mask, bits, colour=0):
    """A PNG of any depth and colour type, which Pillow does not write."""

    def chunk(kind, data):
        sum_ = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + sum_

    lines = b""
    for row in mask.reshape(len(mask), -1):
        text = "".join(f"{int(n):0{bits}b}" for n in row)
        text += "0" * (-len(text) % 8)
        lines += b"\0" + int(text, 2).to_bytes(len(text) // 8, "big")
    head = struct.pack(">IIBBBBB", mask.shape[1], mask.shape[0], bits, colour, 0, 0, 0)
    chunks = chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(lines))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + chunk(b"IEND", b"")


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_grey_of_any_depth_gives_its_numbers(bits):
    """Pillow stretches 2 and 4 bits to the whole range: class 1 would be 85 or 17."""
    mask = numbers(1, min(2**bits, 16), (7, 9))
    np.testing.assert_array_equal(read_mask(raw_png(mask, bits)).numbers, mask)


@pytest.mark.parametrize(("colour", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_sixteen_bits_in_several_channels_are_refused(colour, channels):
    """Pillow gives their high halves: every class would be 0."""
    wide = np.stack([numbers(1)] * channels, -1)
    with pytest.raises(ValueError, match="16 bits in several channels"):
        read_mask(raw_png(wide, 16, colour))


@pytest.mark.parametrize("bits", [4, 8, 16])
def test_a_tiff_whose_zero_is_white_is_refused(bits):
    mask = numbers(1, 3, (4, 4))
    tags = [(256, 3, 4), (257, 3, 4), (258, 3, bits), (259, 3, 1), (262, 3, 0),
            (273, 4, 200), (277, 3, 1), (278, 3, 4), (279, 4, 2 * bits)]  # fmt: skip
    rows = b"".join(struct.pack("<HHII", tag, kind, 1, value)
                    for tag, kind, value in tags)  # fmt: skip
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + rows + b"\0" * 4
    with pytest.raises(ValueError, match="0 is white"):
        read_mask(head.ljust(200, b"\0") + mask.tobytes() * 2)


@pytest.mark.parametrize("error", [struct.error, AttributeError, ZeroDivisionError])
def test_whatever_a_library_raises_is_a_reason(monkeypatch, error):
    def damaged(*_):
        raise error("of its own")

    monkeypatch.setattr(Image, "open", damaged)
    for reader, what in ((read_mask, "a mask"), (header, "an image")):
        with pytest.raises(ValueError, match=f"not readable as {what}: of its own"):
            reader(b"bytes")


def histogram(**pixels):
    counts = np.zeros([1, 256], np.int64)
    for number, count in pixels.items():
        counts[0, int(number[1:])] = count
    return counts


def soft(between):
    counts = histogram(n0=7000, n255=2500)
    counts[0, between] += 3
    return counts


@pytest.mark.parametrize(
    ("counts", "names", "classes"),
    [
        (soft([15, 47, 63, 144, 192]), (), 2),  # resized
        (soft(range(1, 255)), (), 2),  # a JPEG, saved as PNG
        (soft(range(1, 255)), ("sky", "tree"), 2),
        (soft(range(1, 21)), (), 21),  # VOC's numbers and its border
        (soft(range(1, 151)), (), 151),  # of 151 classes
        (soft(range(1, 255)), ("a", "b", "c"), 3),  # a file says what they are
        (histogram(n0=90, n128=5, n255=90), (), 129),  # a trimap: no way to tell
        (histogram(n0=9, n50=9, n100=9, n150=9, n200=9, n255=9), (), 201),
    ],
)
def test_black_and_white_that_bled_is_black_and_white(counts, names, classes):
    found = classes_of(counts, names, sure=bool(names))
    assert len(found.names) == classes
    if classes == 2:
        assert found.table.tolist() == [0] * 128 + [1] * 128
        assert "resizing or JPEG" in found.note and (not names or found.names == names)
    else:
        assert found.table[255] == 255
        assert ("which no mask has" in found.note) == (classes in (129, 201))


@pytest.mark.parametrize(("own", "other"), [(1, 255), (255, 1)])
def test_one_split_counts_to_1_and_the_other_to_255(own, other):
    def of(number):
        return histogram(n0=5, **{f"n{number}": 5})

    classes = also_black_and_white(classes_of(of(own)), of(other))
    assert classes.table[[0, own, other]].tolist() == [0, 1, 1]
    assert f"{other} is class 1" in classes.note
    three = classes_of(histogram(n0=5, n1=5, n2=5))
    assert also_black_and_white(three, of(255)) is three


@pytest.mark.parametrize(
    ("data", "names"),
    [
        (b"a\nh\xe4rte\nc\n", ("a", "h\xe4rte", "c")),
        ("a\nb\nc\n".encode("utf-16"), ("a", "b", "c")),
        ("\xb9 a\n\xb2 b\n\xb3 c".encode(), ("\xb9 a", "\xb2 b", "\xb3 c")),
        (b"0 a\n2 c\n255 void\n", ("a", "class 1", "c")),
        (b"a\n\nc\n", ("a", "class 1", "c")),
        (b"a\na\nc\n", ("a 0", "a 1", "c")),
    ],
)
def test_files_of_class_names(tmp_path, data, names):
    write(tmp_path, plain(2) | {"classes.txt": data})
    assert pairs(str(tmp_path), "all").names == names


@pytest.mark.parametrize("data", [b"\n".join(b"%d" % n for n in range(300)),
                                  b"0 a\n99999 b\n"])  # fmt: skip
def test_more_names_than_numbers_are_refused(tmp_path, data):
    write(tmp_path, plain(2) | {"classes.txt": data})
    with pytest.raises(DataError, match="at most 255"):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ("images/{}2017", "annotations/{}2017"),
        ("images_{}", "masks_{}"),
        ("{}_images", "{}_masks"),
        ("{}", "{}_labels"),  # Kaggle's CamVid
        ("{}", "{}annot"),  # SegNet's
        ("{}-set/imgs", "{}-set/labelmaps"),
    ],
)
def test_splits_in_their_usual_spellings(tmp_path, images, masks):
    for split in ("train", "val"):
        write(tmp_path, {f"{images.format(split)}/{split}.png": b"",
                         f"{masks.format(split)}/{split}_L.png": b""})  # fmt: skip
    for split, want in {"train": "train", "test": "val"}.items():
        found = pairs(str(tmp_path), split)
        assert [os.path.basename(path) for path in found.images] == [f"{want}.png"]
        assert not found.pooled


def test_splits_that_are_spelled_in_two_ways_belong_together(tmp_path):
    for image, mask in (("train", "training"), ("val", "Validation")):
        write(tmp_path, {f"images/{image}/a.png": b"", f"masks/{mask}/a.png": b""})
    assert pairs(str(tmp_path), "val").masks == ["masks/Validation/a.png"]


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        (f"{APART}.jpg", f"{COMPOSED}.png"),
        ("A.JPG", "a.PNG"),
        ("\udcff.jpg", "\udcff_mask.png"),
        ("x y.jpg", "x y_segmentation.png"),
        ("a/b.jpg", "a/b-label.png"),
    ],
)
def test_names_that_differ_as_systems_write_them(tmp_path, image, mask):
    write(tmp_path, {f"images/{image}": b"", f"masks/{mask}": b""})
    assert len(pairs(str(tmp_path), "all").images) == 1


def test_leftovers_loops_pipes_and_doubles_are_no_data(tmp_path):
    files = {"images/a.png": b"", "masks/a.png": b"", "masks/a.bmp": b""}
    for place in ("@eaDir", "$RECYCLE.BIN", "~$x", "_old"):
        files |= {f"images/{place}/b.png": b"", f"masks/{place}/b.png": b""}
    write(tmp_path, files)
    for folder in ("images", "masks"):
        os.symlink(".", tmp_path / folder / "loop")
        os.mkfifo(tmp_path / folder / "pipe.png")
    found = pairs(str(tmp_path), "all")
    assert (found.images, found.masks) == (["images/a.png"], ["masks/a.png"])
    assert not found.bare and not found.lone
    assert "1 masks have the name of another mask" in " ".join(found.notes)


@pytest.mark.parametrize(
    "text", [b"a.png\n\xe4\nx y\n", b"/JPEGImages/a.jpg /M/a.png\n\xe4\nx y.jpg",
             "a\nx y\n".encode("utf-16")]
)  # fmt: skip
def test_lists_with_extensions_blanks_and_bytes(tmp_path, text):
    names = ["a", "x y", "\udce4", "other"]
    files = {f"JPEGImages/{n}.jpg": b"" for n in names}
    files |= {f"SegmentationClass/{n}.png": b"" for n in names}
    write(tmp_path, {**files, "ImageSets/Segmentation/train.txt": text})
    found = {path[11:-4] for path in pairs(str(tmp_path), "train").images}
    assert found == {"a", "x y"} | ({"\udce4"} if b"\xe4" in text else set())


@pytest.mark.parametrize("name", ["train2017", "val_2014", "test-2015", "Val2017"])
def test_a_year_behind_a_split_is_no_other_name(name):
    assert role(name)
    assert not role(f"{name}9") and not role("train1")


def test_a_year_that_is_asked_for_is_no_other(tmp_path):
    for split in ("train2017", "val2014", "val2017", "test2015"):
        write(tmp_path, {f"images/{split}/{split}.png": b"",
                         f"annotations/{split}/{split}.png": b""})  # fmt: skip
    for split in ("val2014", "val2017", "test2015"):
        (image,) = pairs(str(tmp_path), split).images
        assert image.endswith(f"/{split}.png")


def test_what_was_decided_is_said(tmp_path):
    files = plain(4)
    for n in range(4):
        mask = 255 * (numbers(n, 2, SIZE).astype(np.uint8))
        mask.ravel()[:6] = 9, 70, 100, 130, 180, 240
        files[f"masks/{n}.png"] = png(mask)
    write(tmp_path, files)
    assert "those from 128 on are class 1" in said(opened(tmp_path))
