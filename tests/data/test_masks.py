"""`masks:DIR`: every layout, every kind of dirt, from files that the test writes."""

import io
import re

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.pictures import encoded, picture
from tfssl.data import mask_files, open_source, upright
from tfssl.data.drawing import draw_scene
from tfssl.data.mask_files import voc_palette
from tfssl.data.mask_layout import CITYSCAPES, VOC_CLASSES
from tfssl.data.upright import marked
from tfssl.errors import DataError

SIZE = (12, 10)


def numbers(seed, classes=3, size=SIZE):
    """A mask that holds every class, at least one pixel each."""
    rng = np.random.default_rng(1000 + seed)
    out = rng.integers(0, classes, size, np.uint8)
    out.ravel()[:classes] = np.arange(classes)
    return out


def png(mask, palette=False):
    image = Image.fromarray(mask)
    if palette:
        image.putpalette(voc_palette().ravel().tolist())
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def write(root, files):
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)


def plain(count=12, masks="masks", extension="jpg"):
    kind = {"jpg": "JPEG", "png": "PNG"}[extension]
    return {
        **{f"images/{n}.{extension}": encoded(picture(n), kind) for n in range(count)},
        **{f"{masks}/{n}.png": png(numbers(n)) for n in range(count)},
    }


def opened(root, split="all", **options):
    given = {"image_size": 8, "index_dir": str(root / "index"), "targets": "mask"}
    return open_source(f"masks:{root}", split, **given | options)


def rows(source):
    return [
        {k: v.numpy() for k, v in source.example(tf.constant(n, tf.int64)).items()}
        for n in range(source.num_examples)
    ]


def by_name(source):
    return {
        source.where(n).rsplit("/", 1)[-1].split(".")[0]: row
        for n, row in enumerate(rows(source))
    }


def said(source):
    return source.summary().text


def test_plain_folders_with_a_held_out_tenth(tmp_path):
    write(tmp_path, plain(40))
    train, test, every = (opened(tmp_path, split) for split in ("train", "test", "all"))
    assert train.num_examples + test.num_examples == every.num_examples == 40
    assert not set(train.ids) & set(test.ids) and test.num_examples
    for name, row in by_name(every).items():
        assert row["mask"].dtype == np.uint8
        np.testing.assert_array_equal(row["mask"][..., 0], numbers(int(name)))
        np.testing.assert_array_equal(row["image"].shape, (*SIZE, 3))
    assert every.pixel_classes == ("class 0", "class 1", "class 2")
    assert opened(tmp_path, "train[:5]").num_examples == 5
    with pytest.raises(DataError, match="unknown split.*nonsense|nonsense"):
        opened(tmp_path, "nonsense")
    # Without masks it is a set of unlabelled images, as pre-training takes them.
    images = opened(tmp_path, "train", targets="", memory=0)
    assert set(rows(images)[0]) == {"image", "label", "id"}
    assert images.num_classes is None and images.num_examples == train.num_examples


def test_the_layout_of_voc(tmp_path):
    files = {f"JPEGImages/{n}.jpg": encoded(picture(n), "JPEG") for n in range(6)}
    # 5 has no mask, as most of VOC's images; it is in no list.
    masks = {n: numbers(n, 21, (12, 10)) for n in range(5)}
    files |= {f"SegmentationClass/{n}.png": png(m, True) for n, m in masks.items()}
    lists = {"train": "0\n1\n2\n", "val": "3\n4\n", "trainval": "0\n1\n2\n3\n4\n"}
    for split, text in lists.items():
        files[f"ImageSets/Segmentation/{split}.txt"] = text.encode()
    write(tmp_path, files)
    assert opened(tmp_path, "train").pixel_classes == VOC_CLASSES
    for split, count in {"train": 3, "test": 2, "val": 2, "trainval": 5}.items():
        source = opened(tmp_path, split)
        assert source.num_examples == count
        for name, row in by_name(source).items():
            np.testing.assert_array_equal(row["mask"][..., 0], masks[int(name)])
    # With numbers that VOC has not it is somebody's own, in VOC's folders.
    write(tmp_path, {"SegmentationClass/0.png": png(numbers(0, 30), True)})
    other = opened(tmp_path, "train", rebuild_index=True)
    assert len(other.pixel_classes) == 30 and "do not fit" in said(other)
    write(tmp_path, {"class_names.txt": b"_background_\nleaf\nroot\n"})
    named = opened(tmp_path, "train")
    assert named.pixel_classes == ("_background_", "leaf", "root")
    assert "numbers that are no class" in said(named)


def test_the_layout_of_cityscapes(tmp_path):
    rng = np.random.default_rng(0)
    ids = {n: rng.integers(0, 34, SIZE, np.uint8) for n in range(4)}
    files = {}
    for n, mask in ids.items():
        place = f"{'train' if n < 3 else 'val'}/town/town_{n}"
        files[f"leftImg8bit/{place}_leftImg8bit.png"] = encoded(picture(n), "PNG")
        for ending in ("labelIds", "instanceIds", "color"):
            data = mask if ending == "labelIds" else numbers(n)
            files[f"gtFine/{place}_gtFine_{ending}.png"] = png(data)
    files["leftImg8bit/test/town/town_9_leftImg8bit.png"] = encoded(picture(9), "PNG")
    files["gtFine/test/town/town_9_gtFine_labelIds.png"] = png(0 * numbers(9))
    write(tmp_path, files)
    train, held_out = opened(tmp_path, "train"), opened(tmp_path, "test")
    assert (train.num_examples, held_out.num_examples) == (3, 1)  # val, not test
    assert train.pixel_classes == tuple(CITYSCAPES.values()) == held_out.pixel_classes
    table = {number: place for place, number in enumerate(CITYSCAPES)}
    want = np.vectorize(lambda number: table.get(number, 255))
    found = by_name(train) | by_name(held_out)
    for n, mask in ids.items():
        got = found[f"town_{n}_leftImg8bit"]["mask"][..., 0]
        np.testing.assert_array_equal(got, want(mask))
    assert "no class" not in said(train) and "left out" not in said(train)
    # Masks of the benchmark's own numbers are taken as they are.
    own = tmp_path / "own"
    image = "leftImg8bit/train/town/town_0_leftImg8bit.png"
    mask = "gtFine/train/town/town_0_gtFine_labelTrainIds.png"
    write(own, {image: encoded(picture(0), "PNG"), mask: png(numbers(0, 19))})
    (row,) = rows(opened(own, "all"))
    np.testing.assert_array_equal(row["mask"][..., 0], numbers(0, 19))


@pytest.mark.parametrize("above", [True, False])
def test_splits_above_the_folders_and_below(tmp_path, above):
    for split, first in {"training": 0, "Validation": 5}.items():
        for n in range(first, first + 4):
            image, mask = (
                (f"{split}/images", f"{split}/annotations")
                if above
                else (f"images/{split}", f"annotations/{split}")
            )
            write(tmp_path, {f"{image}/{n}.jpg": encoded(picture(n), "JPEG"),
                             f"{mask}/{n}_mask.png": png(numbers(n))})  # fmt: skip
    assert sorted(by_name(opened(tmp_path, "train"))) == ["0", "1", "2", "3"]
    assert sorted(by_name(opened(tmp_path, "test"))) == ["5", "6", "7", "8"]
    assert opened(tmp_path, "all").num_examples == 8


def saved(image, **options):
    out = io.BytesIO()
    image.save(out, "PNG", **options)
    return out.getvalue()


def test_each_kind_of_mask_gives_its_numbers():
    mask = numbers(0)
    wide = mask.astype(np.uint16)
    wide[0, :4] = 300, 65535, 255, 254
    rgb = Image.fromarray(voc_palette()[mask])
    border = voc_palette()[mask]
    border[0, 0] = 224, 224, 192
    alpha = np.stack([mask, mask], -1)
    cases = {
        "grey": (png(mask), mask, (), 0),
        "palette": (png(mask, True), mask, (), 0),
        "grey in RGB": (saved(Image.fromarray(np.stack([mask] * 3, -1))), mask,
                        ("grey in RGB",), 0),
        "VOC's colours": (saved(rgb), mask, ("colours",), 0),
        "alpha": (saved(Image.fromarray(alpha, "LA")), mask, ("transparent",), 0),
        "black and white": (saved(Image.fromarray(mask > 0)), 1 * (mask > 0), (), 0),
    }  # fmt: skip
    for name, (data, want, kinds, above) in cases.items():
        found = mask_files.read_mask(data)
        np.testing.assert_array_equal(found.numbers, want, err_msg=name)
        assert (found.kinds, found.above) == (kinds, above), name
    found = mask_files.read_mask(saved(Image.fromarray(wide)))
    assert found.kinds == ("16 bit",) and found.above == 1
    assert found.numbers[0, :4].tolist() == [255, 255, 255, 254]
    found = mask_files.read_mask(saved(Image.fromarray(border)))
    assert found.numbers[0, 0] == 255
    strange = voc_palette()[mask]
    strange[0, 0] = 1, 2, 3
    bad = {
        "(1, 2, 3)": saved(Image.fromarray(strange)),
        "JPEG": encoded(mask, "JPEG"),
        "empty file": b"",
        "does not know": b"no picture at all",
        "truncated": png(numbers(0, 9, (90, 90)))[:900],
    }
    for reason, data in bad.items():
        with pytest.raises(ValueError, match=re.escape(reason)):
            mask_files.read_mask(data)
    with pytest.raises(ValueError, match="declares"):
        mask_files.read_mask(png(mask), max_pixels=100)


def test_dirt_is_named_counted_and_never_fatal(tmp_path):
    files = plain(20)
    del files["masks/0.png"], files["images/1.jpg"]
    files["masks/2.png"] = png(numbers(2, size=(12, 11)))
    strange = voc_palette()[numbers(3)] + 1
    files["masks/3.png"] = saved(Image.fromarray(strange))
    files["masks/4.png"] = png(np.full(SIZE, 255, np.uint8))
    files["masks/5.png"] = b"no picture"
    files["masks/6.png"] = saved(Image.fromarray(numbers(6).astype(np.uint16)))
    beyond = numbers(7)
    beyond[3, 3] = 9
    files["masks/7.png"] = png(beyond)
    files["masks/B8.PNG"] = files.pop("masks/8.png")
    files["images/b8.jpg"] = files.pop("images/8.jpg")
    files["masks/9.jpg"] = encoded(numbers(9), "JPEG")
    del files["masks/9.png"]
    files["images/10.jpg"] = b"no picture"
    files["images/11.png"] = encoded(picture(11), "PNG")
    files["images/.hidden.png"] = files["images/notes.txt"] = b""
    write(tmp_path, files)
    write(tmp_path, {"classes.txt": b"ground\ntree\nsky\n"})
    source = opened(tmp_path)
    text = said(source)
    for words in (
        "1 images without a mask left out, such as images/0.jpg",
        "1 masks without an image left out, such as masks/1.png",
        "6 pairs left out",
        "1 images have the name of another image",
        "1 masks have the name of their image but for upper and lower case, such as "
        "masks/B8.PNG",
        "1 masks hold numbers that are no class, 1 pixels in all",
        "1 masks have 16 bits",
        "masks of 3 classes: ground",
    ):
        assert words in text
    reasons = {
        row["path"].rsplit("/", 1)[-1]: row["reason"] for row in source.skipped()
    }
    assert "is 12 x 11, its image 12 x 10" in reasons["2.png"]
    assert "of no" in reasons["3.png"] or "no numbers" in reasons["3.png"]
    assert "all are ignored" in reasons["4.png"]
    assert "not readable" in reasons["5.png"] and "JPEG" in reasons["9.jpg"]
    assert "its image not readable" in reasons["10.png"]
    found = by_name(source)
    assert len(found) == 20 - 2 - 6
    np.testing.assert_array_equal(found["6"]["mask"][..., 0], numbers(6))
    np.testing.assert_array_equal(found["b8"]["mask"][..., 0], numbers(8))
    want = numbers(7)
    want[3, 3] = 255
    np.testing.assert_array_equal(found["7"]["mask"][..., 0], want)


def test_nothing_that_can_be_used_is_an_error_that_says_why(tmp_path):
    nothing = png(np.full(SIZE, 255, np.uint8))
    write(
        tmp_path, {"images/a.png": encoded(picture(1), "PNG"), "masks/a.png": nothing}
    )
    write(tmp_path, {"images/b.png": encoded(picture(1), "PNG"), "masks/b.png": b""})
    write(tmp_path, {"classes.txt": b"a\nb\nc\n"})
    with pytest.raises(DataError, match="none of which can be used.*all are ignored"):
        opened(tmp_path)
    with pytest.raises(DataError, match="a folder of images beside one of masks"):
        opened(tmp_path / "images")
    write(tmp_path / "c", {"images/a.png": b"", "masks/b.png": b""})
    with pytest.raises(DataError, match="no name in common"):
        opened(tmp_path / "c")
    with pytest.raises(DataError, match="have no mask"):
        open_source("folder:x", "train", image_size=8, targets="mask")


def test_black_and_white_masks_have_two_classes(tmp_path):
    files = plain(4)
    for n in range(4):
        files[f"masks/{n}.png"] = png(255 * (numbers(n) > 0).astype(np.uint8))
    write(tmp_path, files)
    source = opened(tmp_path)
    assert source.pixel_classes == ("background", "foreground")
    for name, row in by_name(source).items():
        np.testing.assert_array_equal(row["mask"][..., 0], numbers(int(name)) > 0)


@pytest.mark.parametrize("orient", ["none", "exif"])
def test_an_orientation_turns_image_and_mask_alike(tmp_path, orient):
    files, want = {}, {}
    pixels = {way: picture(way, 16, 8) for way in range(1, 9)}
    for way, rgb in pixels.items():
        lying = numbers(way, size=(16, 8))
        turned = upright.turn(tf.constant(lying[..., None]), tf.constant(way)).numpy()
        # One mask lies as the file does, one stands as the picture is shown.
        kinds = (
            {"lies": lying, "stands": turned[..., 0]} if way >= 5 else {"lies": lying}
        )
        for name, mask in kinds.items():
            files[f"images/{name}{way}.jpg"] = marked(encoded(rgb, "JPEG"), way)
            files[f"masks/{name}{way}.png"] = png(mask)
            want[f"{name}{way}"] = mask
    write(tmp_path, files)
    source = opened(tmp_path, orient=orient)
    assert source.num_examples == len(want)
    for name, row in by_name(source).items():
        way = int(name[-1])
        assert row["image"].shape[:2] == row["mask"].shape[:2], name
        turns = orient == "exif" or name.startswith("stands")
        lying = tf.io.decode_jpeg(files[f"images/{name}.jpg"], channels=3)
        image = upright.turn(lying, tf.constant(way if turns else 1))
        np.testing.assert_array_equal(row["image"], image, err_msg=name)
        mask = want[name][..., None]
        if turns and name.startswith("lies"):
            mask = upright.turn(tf.constant(mask), tf.constant(way)).numpy()
        np.testing.assert_array_equal(row["mask"], mask, err_msg=name)
    assert "4 images lie turned by EXIF, and their masks are upright" in said(source)


def test_masks_are_read_once_and_again_when_they_change(tmp_path, monkeypatch):
    from tfssl.data import masks

    monkeypatch.setattr(masks, "WORTH", 1)
    write(tmp_path, plain(5))
    first = opened(tmp_path)
    calls = []
    read = masks.read_masks
    monkeypatch.setattr(masks, "read_masks", lambda *a: calls.append(1) or read(*a))
    again = opened(tmp_path)
    assert not calls and again.targets_digest == first.targets_digest
    for a, b in zip(rows(first), rows(again), strict=True):
        np.testing.assert_array_equal(a["mask"], b["mask"])
    write(tmp_path, {"masks/3.png": png(numbers(77, 4))})
    changed = opened(tmp_path)
    assert calls and changed.targets_digest != first.targets_digest
    assert len(changed.pixel_classes) == 4


def test_masks_of_shapes_are_the_drawn_ones():
    source = open_source("shapes:20", "train", image_size=32, targets="mask")
    assert source.pixel_classes[0] == "background" and len(source.pixel_classes) == 11
    for number, row in enumerate(rows(source)[:5]):
        scene = draw_scene(number, "train", 32)
        np.testing.assert_array_equal(row["image"], scene.image)
        want = np.zeros((32, 32), int)
        for label, mask in zip(scene.classes, scene.masks, strict=True):
            want[mask] = label + 1
        np.testing.assert_array_equal(row["mask"][..., 0], want)
