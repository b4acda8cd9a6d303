"""Annotations of boxes, each format from files written here; every dirt is counted."""

import json

import numpy as np
import pytest

from tfssl.data import open_source
from tfssl.data.box_files import DIRT, Tally, read_coco, read_voc, read_yolo, yolo_names
from tfssl.data.objects import CROWD, DIFFICULT
from tfssl.data.upright import marked
from tfssl.errors import DataError

SIZE = (40, 60)  # rows, columns


@pytest.fixture
def write(tmp_path, files):
    """Writes images (None: 40 x 60 pixels; a tuple: of that size) and texts."""

    def written(**content):
        for path, what in content["files"].items():
            place = tmp_path / path
            place.parent.mkdir(parents=True, exist_ok=True)
            if what is None or isinstance(what, tuple):
                rows, columns = what or SIZE
                picture = np.full((rows, columns, 3), len(path), np.uint8)
                kind = "JPEG" if path.endswith("jpg") else "PNG"
                what = files.encoded(picture, kind)
            elif isinstance(what, dict | list):
                what = json.dumps(what)
            place.write_bytes(what.encode() if isinstance(what, str) else what)
        return tmp_path

    return written


def opened(spec, split="train", **options):
    return open_source(
        str(spec), split, image_size=32, targets="boxes", memory=0, **options
    )


def by_file(source):
    """File name to [(class, box as a list)]."""
    names, found = source.objects.class_names, {}
    for number, image in enumerate(source.objects.images):
        rows = zip(image.classes, image.boxes.tolist(), strict=True)
        found[source.where(number).split("/")[-1]] = [(names[c], b) for c, b in rows]
    return found


def xml(objects, size=SIZE, declaration=""):
    """Objects are (name, xmin, ymin, xmax, ymax, difficult)."""
    rows = "".join(
        f"<object><name>{n}</name><difficult>{d}</difficult><bndbox><xmin>{a}</xmin>"
        f"<ymin>{b}</ymin><xmax>{c}</xmax><ymax>{e}</ymax></bndbox></object>"
        for n, a, b, c, e, d in objects
    )
    h, w = size
    sides = f"<size><width>{w}</width><height>{h}</height></size>"
    return f"{declaration}<annotation>{sides}{rows}</annotation>"


def coco(images, rows, names=("cat", "dog")):
    """Images are (id, name), rows (image id, category, bbox[, more])."""
    return {
        "images": [
            {"id": i, "file_name": n, "height": SIZE[0], "width": SIZE[1]}
            for i, n in images
        ],
        "annotations": [
            {"id": k, "image_id": i, "category_id": c, "bbox": b, **(m[0] if m else {})}
            for k, (i, c, b, *m) in enumerate(rows, 1)
        ],
        "categories": [{"id": 10 * k, "name": n} for k, n in enumerate(names, 1)],
    }


def test_coco_in_its_own_layout(write):
    boxes = [
        (1, 10, [5, 6, 20, 10], {"area": 77.0}),
        (1, 20, [0, 0, 60, 40], {"iscrowd": 1, "area": 900}),
    ]
    train = coco([(1, "a.jpg"), (2, "b.jpg")], boxes)
    held_out = coco([(7, "c.jpg")], [(7, 20, [1, 2, 3, 4])])
    root = write(
        files={
            "annotations/instances_train2017.json": train,
            "annotations/instances_val2017.json": held_out,
            "annotations/captions_train2017.json": {"images": [], "annotations": []},
            "train2017/a.jpg": None,
            "train2017/b.jpg": None,
            "val2017/c.jpg": None,
        }
    )  # fmt: skip
    train = opened(f"coco:{root}")
    assert by_file(train) == {
        "a.jpg": [("cat", [6, 5, 16, 25]), ("dog", [0, 0, 40, 60])],
        "b.jpg": [],
    }
    (of_a,) = (i for i in train.objects.images if len(i.boxes))
    assert of_a.areas.tolist() == [77, 900]
    assert of_a.kinds.tolist() == [0, CROWD]
    assert train.dirt == {}
    assert "1 images without any" in train.summary().text
    for split in ("test", "val"):
        assert by_file(opened(f"coco:{root}", split)) == {
            "c.jpg": [("dog", [2, 1, 6, 4])]
        }
    with pytest.raises(DataError, match="split"):
        opened(f"coco:{root}", "other")
    example = train.example(np.int64(0))
    assert example["image"].shape == (*SIZE, 3)


def test_every_dirt_of_coco_is_counted_and_none_is_fatal(write):
    nan = float("nan")
    rows = [
        (1, 10, [5, 6, 20, 10]),
        (1, 10, [5, 6, 0, 10]),
        (1, 10, [5, 6, -3, 10]),
        (1, 10, [100, 6, 10, 10]),
        (1, 10, [50, 30, 30, 30]),
        (1, 99, [5, 6, 20, 10]),
        (1, 10, [5, nan, 20, 10]),
        (1, 10, [5, 6, 20]),
        (1, 10, None),
        (55, 10, [5, 6, 20, 10]),
        (3, 20, [1, 1, 5, 5]),
        (1, 20, [-4, -3, 10, 10]),
    ]
    images = [
        (1, "a.png"),
        (1, "again.png"),
        (2, "gone.png"),
        (3, "large.png", (90, 90)),
    ]
    images += [(4, "broken.png"), (5, "a.png"), (6, "unsized.png", (0, 0))]
    content = coco([(i, n) for i, n, *_ in images], [])
    for image, (_, _, *size) in zip(content["images"], images, strict=True):
        image["height"], image["width"] = size[0] if size else SIZE
    content["annotations"] = coco([], rows)["annotations"]
    content["annotations"][1]["id"] = 1
    content["annotations"].append("no object")
    text = json.dumps(content, ensure_ascii=False)
    root = write(
        files={
            "set.json": text.replace('"cat"', '"h\xe4rte"').encode("latin-1"),
            "a.png": None,
            "again.png": None,
            "large.png": (50, 60),
            "broken.png": b"\x89PNG no more",
            "unsized.png": None,
        }
    )  # fmt: skip
    source = opened(f"coco:{root}", "all")
    assert by_file(source) == {
        "a.png": [
            ("h\xe4rte", [6, 5, 16, 25]),
            ("h\xe4rte", [30, 50, 40, 60]),
            ("dog", [0, 0, 7, 6]),
        ],
        "unsized.png": [],
    }
    assert source.dirt == {
        "encoding": 1, "twin_ids": 1, "twin_rows": 1, "no_size": 1, "twin_objects": 1,
        "no_image_row": 1, "unknown": 1, "not_numbers": 4, "no_area": 2, "outside": 1,
        "clipped": 2, "lone": 1, "size": 1, "broken_image": 1, "bare": 1,
    }  # fmt: skip
    text = source.summary().text
    for kind in source.dirt:
        assert DIRT[kind] in text
    assert [row["path"].split("/")[-1] for row in source.skipped()] == ["broken.png"]


def test_voc_with_its_lists_and_two_years_at_once(write):
    content = {}
    for year in ("VOC2007", "VOC2012"):
        for name in ("a", "b"):
            label = f"{name}{year[-1]}"
            content[f"{year}/JPEGImages/{name}.jpg"] = None
            content[f"{year}/Annotations/{name}.xml"] = xml([(label, 1, 1, 60, 40, 0)])
        content[f"{year}/ImageSets/Main/trainval.txt"] = "a\n"
        content[f"{year}/ImageSets/Main/cat_trainval.txt"] = "a -1\n"
    content["VOC2007/ImageSets/Main/test.txt"] = "b\nlost\n"
    root = write(files=content)
    train = opened(f"voc:{root}", "trainval")
    assert sorted(train.objects.class_names) == ["a2", "a7"]
    assert train.num_examples == 2
    assert train.objects.images[0].boxes.tolist() == [[0, 0, 40, 60]]
    test = opened(f"voc:{root}", "test")
    assert by_file(test) == {"b.jpg": [("b7", [0, 0, 40, 60])]}
    assert test.dirt == {"lone": 1}
    with pytest.raises(DataError, match="trainval"):
        opened(f"voc:{root}", "train")


def test_every_dirt_of_voc_is_counted_and_none_is_fatal(write):
    good = ("cat", 11, 6, 30, 20, 1)
    rows = [good, ("cat", 5, 5, 4, 9, 0), ("cat", 0, 0, 10, 10, 0)]
    rows += [("", 1, 1, 9, 9, 0), ("dog", 1, 1, "x", 9, 0), ("dog", 70, 50, 90, 60, 0)]
    rows += [("dog", 50, 1, 99, 9, 0), ("dog", 1, 1, "nan", 9, 0)]
    false = '<?xml version="1.0" encoding="utf-8"?>'
    root = write(
        files={
            "Annotations/a.xml": xml(rows),
            "Annotations/b.xml": "<annotation><object>",
            "Annotations/c.xml": xml([good], (400, 600)),
            "Annotations/d.xml": xml([good], (0, 0)),
            "Annotations/e.xml": xml([good]),
            "Annotations/g.xml": xml(
                [("k\xe4se", 1, 1, 5, 5, 0)], declaration=false
            ).encode("latin-1"),
            "Annotations/h.xml": b"\xff\xfe" + xml([good]).encode("utf-16-le"),
            "Annotations/i.xml": xml([]),
            **{f"JPEGImages/{name}.png": None for name in "abcdfghi"},
            "JPEGImages/a.jpg": None,
        }
    )  # fmt: skip
    source = opened(f"voc:{root}", "all")
    found = by_file(source)
    assert found.pop("a.jpg") == [
        ("cat", [5, 10, 20, 30]), ("cat", [4, 3, 9, 5]), ("cat", [0, 0, 10, 10]),
        ("dog", [0, 49, 9, 60]),
    ]  # fmt: skip
    good_box = [("cat", [5, 10, 20, 30])]
    assert found == {"d.png": good_box, "h.png": good_box, "i.png": [],
                     "g.png": [("k\xe4se", [0, 0, 5, 5])]}  # fmt: skip
    assert source.dirt == {
        "twin_files": 1, "swapped": 1, "no_name": 1, "not_numbers": 2, "outside": 1,
        "clipped": 1, "unreadable": 1, "size": 1, "no_size": 1, "lone": 1, "bare": 1,
        "encoding": 1,
    }  # fmt: skip
    kinds = np.concatenate([image.kinds for image in source.objects.images])
    assert (kinds == DIFFICULT).sum() == 3


def test_yolo_in_its_layouts(write):
    root = write(
        files={
            "data.yaml": "path: .\nnames:\n  0: cat # a\n  1: 'big dog'\nnc: 2\n",
            "images/train/a.png": None,
            "labels/train/a.txt": "1 0.5 0.5 0.5 0.5\n0 0.1 0.1 0.3 0.1 0.2 0.4\n",
            "images/val/b.png": None,
            "labels/val/b.txt": "",
        }
    )
    source = opened(f"yolo:{root}")
    (rows,) = by_file(source).values()
    assert [name for name, _ in rows] == ["big dog", "cat"]
    np.testing.assert_allclose(rows[0][1], [10, 15, 30, 45])
    np.testing.assert_allclose(rows[1][1], [4, 6, 16, 18], rtol=1e-6)
    assert source.dirt == {"polygons": 1}
    assert by_file(opened(f"yolo:{root}", "test")) == {"b.png": []}


@pytest.mark.parametrize(
    "file,text",
    [
        ("data.yaml", "names: ['cat', \"big dog\"]\n"),
        ("data.yml", "train: x\nnames:\n- cat\n- big dog\nother: 1\n"),
        ("classes.txt", "cat\r\nbig dog\r\n"),
        ("data.yaml", "names: {0: cat, 1: big dog}"),
    ],
)
def test_names_of_yolo_classes(tmp_path, file, text):
    (tmp_path / file).write_text(text)
    assert yolo_names(str(tmp_path)) == (("cat", "big dog"), file, False)


def test_every_dirt_of_yolo_is_counted_and_none_is_fatal(write):
    lines = "0 .5 .5 .5 .5\n7 .5 .5 .5 .5\n0 .5 .5 .5\n0 .5 .5 nan .5\n0 .5 .5 0 .5\n"
    lines += (
        "0 .9 .5 .6 .5\n0 3 3 .1 .1\n-1 .5 .5 .5 .5\n0.5 .5 .5 .5 .5\nx .5 .5 .5 .5\n"
    )
    root = write(
        files={
            "classes.txt": "cat\n",
            "train/images/a.png": None,
            "train/labels/a.txt": lines,
            "train/images/b.png": None,
            "train/labels/c.txt": "",
            "train/images/d.png": None,
            "train/labels/d.txt": b"\0\0\1",
        }
    )
    source = opened(f"yolo:{root}")
    assert len(by_file(source)["a.png"]) == 2
    assert source.dirt == {
        "unknown": 3, "columns": 1, "not_numbers": 2, "no_area": 1, "clipped": 1,
        "outside": 1, "bare": 1, "lone": 1, "unreadable": 1,
    }  # fmt: skip
    (root / "classes.txt").unlink()
    unnamed = opened(f"yolo:{root}")
    assert unnamed.objects.class_names == ("class 0", "class 7")
    assert "no file of class names" in unnamed.summary().text


def test_boxes_are_in_the_pixels_that_the_annotator_saw(write, files):
    picture = np.zeros((*SIZE, 3), np.uint8)
    picture[:10, :20] = 255  # upper left, as the file lies
    lying = marked(files.encoded(picture, "JPEG"), 6)  # shown turned by a quarter
    root = write(
        files={
            "Annotations/lies.xml": xml([("cat", 1, 1, 20, 10, 0)], SIZE),
            "Annotations/stands.xml": xml([("cat", 31, 1, 40, 20, 0)], SIZE[::-1]),
            "JPEGImages/lies.jpg": lying,
            "JPEGImages/stands.jpg": lying,
        }
    )
    for orient in ("none", "exif"):
        source = opened(f"voc:{root}", "all", orient=orient)
        for number in range(2):
            image = source.example(np.int64(number))["image"].numpy()
            ((y0, x0, y1, x1),) = source.objects.images[number].boxes.astype(int)
            assert image[y0 + 2 : y1 - 2, x0 + 2 : x1 - 2].min() > 200
            inside = image[y0:y1, x0:x1].astype(int).sum()
            assert inside > 0.9 * image.astype(int).sum()
        assert source.dirt == {"turned": 1}


def test_without_splits_a_tenth_is_held_out(write):
    names = [f"{n:02}" for n in range(40)]
    content = {f"images/{n}.png": None for n in names}
    content |= {f"labels/{n}.txt": "0 .5 .5 .2 .2" for n in names}
    root = write(files=content)
    parts = [set(opened(f"yolo:{root}", s).ids) for s in ("train", "test", "all")]
    assert parts[0] | parts[1] == parts[2]
    assert not parts[0] & parts[1]
    assert 0 < len(parts[1]) < 12
    part = opened(f"yolo:{root}", "train[:5]")
    assert len(part.objects.images) == part.num_examples == 5


def test_nothing_readable_says_what_is_wrong(write):
    root = write(files={"Annotations/a.xml": "no xml", "JPEGImages/a.png": None})
    with pytest.raises(DataError, match="cannot be read"):
        opened(f"voc:{root}", "all")
    assert read_voc(str(root / "gone.xml"), Tally()) is None
    assert read_yolo(str(root / "gone.txt"), (), Tally()) is None
    for text in ("{", "[]", "{}", '{"images": 1, "annotations": []}', "[" * 100_000):
        (root / "x.json").write_text(text)
        tally = Tally()
        assert read_coco(str(root / "x.json"), tally) is None
        assert tally.counts == {"unreadable": 1}


@pytest.mark.slow
def test_boxes_of_a_prepared_data_set(tmp_path):
    tfds = pytest.importorskip("tensorflow_datasets")

    class Boxed(tfds.core.GeneratorBasedBuilder):
        __module__ = "boxed"
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            objects = {
                "bbox": tfds.features.BBoxFeature(),
                "label": tfds.features.ClassLabel(names=["cat", "dog"]),
                "is_crowd": np.bool_,
                "area": np.int64,
            }
            features = {
                "image": tfds.features.Image(encoding_format="png"),
                "objects": tfds.features.Sequence(objects),
            }
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples(3)}

        def _generate_examples(self, count):
            box = tfds.features.BBox(0.1, 0.25, 0.5, 0.75)
            flat = tfds.features.BBox(0.5, 0.5, 0.5, 0.9)
            for number in range(count):
                rows = [
                    {"bbox": b, "label": number % 2, "is_crowd": number == 2, "area": 9}
                    for b in (box, flat)[:number]
                ]
                image = np.full((*SIZE, 3), number, np.uint8)
                yield number, {"image": image, "objects": rows}

    for form in ("tfrecord", "array_record"):
        if form == "array_record":
            pytest.importorskip("array_record")
        place = str(tmp_path / form)
        builder = Boxed(data_dir=place, file_format=form)
        config = tfds.download.DownloadConfig(try_download_gcs=False)
        builder.download_and_prepare(download_config=config)
        source = opened("tfds:boxed", data_dir=place)
        assert source.objects.class_names == ("cat", "dog")
        images = {}
        for number, found in enumerate(source.objects.images):
            pixel = int(source.example(np.int64(number))["image"][0, 0, 0])
            images[pixel] = found
        assert images[0].boxes.shape == (0, 4)
        np.testing.assert_allclose(images[1].boxes, [[4, 15, 20, 45]], rtol=1e-6)
        assert images[1].classes.tolist() == [1]
        assert images[1].areas.tolist() == [9]
        assert images[2].kinds.tolist() == [CROWD]
        assert source.dirt == {"no_area": 1}
