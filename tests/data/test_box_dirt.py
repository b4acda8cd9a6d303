"""Boxes as people's files really have them, each kind with several members.

What can be told is read right; what cannot is counted by the kind that is named here,
and ends nothing.
"""

import json
import os
import unicodedata

import pytest

from tests.data.test_boxes import by_file, coco, opened, write, xml  # noqa: F401
from tfssl.errors import DataError

BOX = [5, 6, 20, 10]
CAT = [("cat", [6, 5, 16, 25])]
COMPOSED, APART = (unicodedata.normalize(form, "h\xe4rte") for form in ("NFC", "NFD"))


def one(**more):
    """COCO's JSON of one image and one box; fields of `image`, `row`, `cats`."""
    content = coco([(1, "a.png")], [(1, 10, BOX)])
    content["images"][0] |= more.get("image", {})
    content["annotations"][0] |= more.get("row", {})
    content["categories"] = more.get("cats", content["categories"])
    return content


@pytest.mark.parametrize(
    ("content", "boxes", "dirt"),
    [
        (one(image={"id": "1"}), CAT, {}),
        (one(image={"id": 1.0}), CAT, {}),
        (one(row={"image_id": "1"}), CAT, {}),
        (one(row={"category_id": 10.0}), CAT, {}),
        (one(image={"id": "01"}), [], {"no_image_row": 1}),  # another one than 1
        (one(image={"id": "a"}, row={"image_id": "a"}), CAT, {}),
        (one(cats=[{"id": [1], "name": "x"}, {"id": 10, "name": "cat"}]), CAT, {}),
        (one(cats=[{"id": 10, "name": None}]), [], {"unknown": 1}),
        (one(cats=[{"id": None, "name": "x"}, "no row"]), [], {"unknown": 1}),
        (one(cats=[{"id": 10, "name": "cat"}, {"id": 10, "name": "dog"}]), CAT,
         {"twin_classes": 1}),
        (one(cats=[{"id": 9, "name": "cat "}, {"id": 10, "name": "cat"}]), CAT, {}),
        (one(row={"category_id": {}, "id": [1]}), [], {"unknown": 1}),
        (one(row={"image_id": [1]}), [], {"no_image_row": 1}),
        (one(row={"bbox": {"x": 1}}), [], {"not_numbers": 1}),
        (one(row={"bbox": ["5", "6", "20,0", "10"]}), CAT, {}),
        (one(image={"file_name": "C:\\data\\a.png"}), CAT, {}),
        (one(image={"file_name": "/data/set/A.PNG"}), CAT, {}),
    ],
)  # fmt: skip
def test_coco_ids_classes_and_names_of_files(write, content, boxes, dirt):  # noqa: F811
    source = opened(f"coco:{write(files={'x.json': content, 'a.png': None})}", "all")
    assert by_file(source) == {"a.png": boxes}
    assert source.dirt == dirt


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_coco_in_another_encoding(write, encoding):  # noqa: F811
    text = json.dumps(one()).encode(encoding)
    source = opened(f"coco:{write(files={'x.json': text, 'a.png': None})}", "all")
    assert by_file(source) == {"a.png": CAT}


def test_coco_crowds_however_they_are_written(write):  # noqa: F811
    content = one(row={"iscrowd": "1", "segmentation": {"counts": [1, 2]}})
    for number, value in enumerate((1.0, True, "0", None), 2):
        content["annotations"] += one(row={"iscrowd": value, "id": number})[
            "annotations"
        ]
    source = opened(f"coco:{write(files={'x.json': content, 'a.png': None})}", "all")
    assert source.objects.images[0].kinds.tolist() == [2, 2, 2, 0, 0]
    assert source.objects.asked() == 2


def test_coco_an_image_listed_twice_has_the_objects_of_both(write):  # noqa: F811
    """In one file, and in two, as sets are merged."""
    rows = [(1, 10, BOX), (2, 20, [1, 1, 3, 3]), (2, 10, BOX)]
    twice = coco([(1, "a.png"), (2, "a.png")], rows)
    other = coco([(7, "a.png")], [(7, 20, [2, 2, 3, 3])])
    root = write(files={"x.json": twice, "y.json": other, "a.png": None})
    source = opened(f"coco:{root}", "all")
    want = [*CAT, ("dog", [1, 1, 4, 4]), ("dog", [2, 2, 5, 5])]
    assert by_file(source) == {"a.png": want}
    assert source.dirt == {"twin_rows": 2}


def test_coco_paths_of_another_machine_find_the_likest(write):  # noqa: F811
    names = ["C:\\set\\x\\0.png", "C:\\set\\y\\0.png", "D:\\0.png"]
    content = coco([*enumerate(names)], [(0, 10, BOX), (1, 20, BOX)])
    root = write(files={"x.json": content, "i/x/0.png": None, "i/y/0.png": (40, 60)})
    source = opened(f"coco:{root}", "all")
    found = {source.where(n)[-7:]: source.objects.images[n].classes.tolist()
             for n in range(source.num_examples)}  # fmt: skip
    assert found == {"x/0.png": [0], "y/0.png": [1]}
    assert source.dirt == {"lone": 1}  # the third might be either


def test_coco_never_takes_an_image_of_another_split(write):  # noqa: F811
    held_out = coco([(1, "0.png"), (2, "1.png")], [(1, 10, BOX)])
    root = write(files={"train.json": one(), "val.json": held_out, "train/0.png": None,
                        "val/1.png": None})  # fmt: skip
    source = opened(f"coco:{root}", "val")
    assert by_file(source) == {"1.png": []}
    assert source.dirt == {"lone": 1}


XML = xml([("cat", 11, 6, 30, 20, 0)])
VOC = [("cat", [5, 10, 20, 30])]
ENTITY = '<!DOCTYPE a [<!ENTITY x "y">]>'
FAR = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize(
    ("text", "boxes", "dirt"),
    [
        (XML.replace("<annotation", '<annotation xmlns="http://x"'), VOC, {}),
        (XML.replace("object", "Object").replace("xmin", "XMin"), VOC, {}),
        (XML.replace(">11<", ">30<").replace("<xmax>30", "<xmax>11"), VOC,
         {"swapped": 1}),
        (XML.replace(">11<", ">11,5<"), [("cat", [5, 10.5, 20, 30])], {}),
        (XML.replace("<size>", "<sizes>").replace("</size>", "</sizes>"), VOC,
         {"no_size": 1}),
        ("\n" + '<?xml version="1.0" encoding="klingon"?>' + XML, VOC, {}),
        ('<?xml version="1.0" encoding="utf-16"?>' + XML, VOC, {}),
        (XML.encode("utf-16"), VOC, {}),
        (XML.encode("utf-32"), VOC, {}),
        (('<?xml version="1.0" encoding="gb2312"?>' + XML.replace("cat", "\u732b"))
         .encode("gb2312"), [("\u732b", [5, 10, 20, 30])], {}),
        (XML.replace(">cat<", f">{APART}<"), [(COMPOSED, [5, 10, 20, 30])], {}),
    ],
)  # fmt: skip
def test_voc_as_programs_write_it(write, text, boxes, dirt):  # noqa: F811
    files = {"Annotations/a.xml": text, "JPEGImages/a.png": None}
    source = opened(f"voc:{write(files=files)}", "all")
    assert by_file(source) == {"a.png": boxes}
    assert source.dirt == dirt


@pytest.mark.parametrize(
    "text",
    [
        "<html><body>404</body></html>",
        "<a>" * 20_000 + "</a>" * 20_000,
        ENTITY + XML.replace("cat", "&x;"),
        FAR + XML.replace("cat", "&x;"),
        (FAR + XML).encode("utf-16"),
        XML.replace("cat", "A&B"),
        XML[:-9],
    ],
)
def test_voc_that_is_none_is_no_image_without_objects(write, text):  # noqa: F811
    files = {"Annotations/a.xml": text, "JPEGImages/a.png": None,
             "Annotations/b.xml": XML, "JPEGImages/b.png": None}  # fmt: skip
    source = opened(f"voc:{write(files=files)}", "all")
    assert by_file(source) == {"b.png": VOC}
    assert source.dirt == {"unreadable": 1}


@pytest.mark.parametrize(
    "text",
    [b"a.png\nmy b\n\xe4 -1\n", "a\nmy b.png\n\udce4", "a\nmy b 1\n\udce4\n"],
)
def test_lists_of_voc_with_extensions_blanks_and_bytes(write, text):  # noqa: F811
    if isinstance(text, str):
        text = b"\xef\xbb\xbf" + text.encode("utf-8", "surrogateescape")
    names = ["a", "my b", "\udce4", "other"]
    files = {f"Annotations/{n}.xml": XML for n in names}
    files |= {f"JPEGImages/{n}.png": None for n in names}
    root = write(files={**files, "ImageSets/Main/train.txt": text})
    got = {name.removesuffix(".png") for name in by_file(opened(f"voc:{root}"))}
    want = {"a", "\udce4", "my b" if b"my b\n" in text or b"b.png" in text else ""}
    assert got == want - {""}


LINE = "0 .5 .5 .5 .5"
WHOLE = [("class 0", [10, 15, 30, 45])]


@pytest.mark.parametrize(
    "text",
    [
        "0 0,5 0,5 0,5 0,5",
        "0;0,5;0,5;0,5;0,5",
        "0,0.5,0.5,0.5,0.5",
        "0, 0.5, 0.5, 0.5, 0.5",
        "0\t.5\t.5\t.5\t.5\r\n\r\n",
        LINE.encode("utf-16"),
        LINE.encode("utf-16-le"),
        b"\xef\xbb\xbf0.0 .5 .5 .5 .5",
    ],
)
def test_yolo_as_programs_write_it(write, text):  # noqa: F811
    source = opened(f"yolo:{write(files={'a.txt': text, 'a.png': None})}", "all")
    assert by_file(source) == {"a.png": WHOLE}
    assert source.dirt == {}


def test_yolo_key_points_are_no_polygons(write):  # noqa: F811
    points = " .1 .1 .9 .9 .1 .1 .2 .2"
    files = {"data.yaml": "kpt_shape: [4, 2]\nnames: [class 0]\n", "a.png": None}
    source = opened(f"yolo:{write(files={**files, 'a.txt': LINE + points})}", "all")
    assert by_file(source) == {"a.png": WHOLE} and source.dirt == {"points": 1}


ALL = "0 .5 .5 .5 .5\n1 .5 .5 .5 .5"


@pytest.mark.parametrize(
    ("more", "names"),
    [
        ({"labels/classes.txt": "x\ny"}, [("a", "x y"), ("b", "x y")]),
        ({"labels/train/classes.txt": "x\ny", "labels/val/classes.txt": "y\nx"},
         [("a", "x y"), ("b", "y x")]),
        ({"labels/val/classes.txt": "y\nx", "data.yaml": "names: [x, y]"},
         [("a", "x y"), ("b", "x y")]),
        ({"mine.yaml": "names: {1: y, 0: x}"}, [("a", "x y"), ("b", "x y")]),
        ({"obj.names": "x\ny\n"}, [("a", "x y"), ("b", "x y")]),
        ({"classes.txt": b"x\nh\xe4rte"}, [("a", "x h\xe4rte"), ("b", "x h\xe4rte")]),
    ],
)  # fmt: skip
def test_yolo_names_are_those_of_the_nearest_file(write, more, names):  # noqa: F811
    images = {f"images/{s}/{n}.png": None for s, n in (("train", "a"), ("val", "b"))}
    texts = {f"labels/{s}/{n}.txt": ALL for s, n in (("train", "a"), ("val", "b"))}
    found = by_file(opened(f"yolo:{write(files={**images, **texts, **more})}", "all"))
    for name, want in names:
        assert " ".join(n for n, _ in found[f"{name}.png"]) == want


@pytest.mark.parametrize(
    ("folders", "held_out"),
    [
        ("images/{}2017 labels/{}2017", "val"),
        ("{}2017/images {}2017/labels", "val"),
        ("images_{} labels_{}", "val"),
        ("{}_images {}_labels", "val"),
        ("{}-set/images {}-set/labels", "valid"),
        ("{} {}", "Validation"),
    ],
)
def test_splits_in_their_usual_spellings(write, folders, held_out):  # noqa: F811
    images, labels = folders.split()
    files = {}
    for split in ("train", held_out):
        files[f"{images.format(split)}/{split}.png"] = None
        files[f"{labels.format(split)}/{split}.txt"] = LINE
    root = write(files=files)
    assert [*by_file(opened(f"yolo:{root}"))] == ["train.png"]
    assert [*by_file(opened(f"yolo:{root}", "test"))] == [f"{held_out}.png"]


def test_test_images_without_annotations_leave_others_to_score(write):  # noqa: F811
    files = {f"images/{s}/{s}.png": None for s in ("train", "val", "test")}
    files |= {f"labels/{s}/{s}.txt": LINE for s in ("train", "val")}
    files |= {"images/logo.png": None, "labels/logo.txt": LINE}
    source = opened(f"yolo:{write(files=files)}", "test")
    assert [*by_file(source)] == ["val.png"]
    assert "the folder validation" in source.summary().text
    assert source.dirt == {"no_split": 1}


@pytest.mark.parametrize(
    ("image", "text"),
    [
        (f"images/{APART}.png", f"labels/{COMPOSED}.txt"),
        ("images/IMG_1.PNG", "labels/img_1.TXT"),
        ("images/\udcff.png", "labels/\udcff.txt"),
        ("a,b/images/x y.png", "a,b/labels/x y.txt"),
    ],
)
def test_names_that_differ_as_systems_write_them(write, image, text):  # noqa: F811
    assert [*by_file(opened(f"yolo:{write(files={image: None, text: LINE})}", "all"))]


def test_leftovers_loops_and_pipes_are_no_data(write):  # noqa: F811
    files = {"images/a.png": None, "labels/a.txt": LINE}
    for place in ("$RECYCLE.BIN", ".Trash", "@eaDir", "__MACOSX"):
        files |= {f"{place}/images/b.png": None, f"{place}/labels/b.txt": LINE}
    root = write(files=files)
    os.symlink(".", root / "loop")
    os.mkfifo(root / "images" / "c.png")
    os.symlink("nowhere", root / "images" / "d.png")
    (root / "labels" / "d.txt").write_text(LINE)
    source = opened(f"yolo:{root}", "all")
    assert source.num_examples == 1 and source.dirt == {"broken_image": 1}


def test_what_is_asked_for_decides_before_a_training(write):  # noqa: F811
    """Difficult objects and crowds alone would fail when all is trained."""
    from tfssl.data.objects import Objects, OfImage

    images = OfImage.of([[0, 0, 9, 9]] * 3, [0, 1, 1], [0, 1, 2])
    known, lost = Objects(("x", COMPOSED), (images,)).in_classes((APART,))
    assert lost == {"x": 1} and known.counts().tolist() == [2] and not known.asked()
    with pytest.raises(DataError, match="lists|no files|annotation"):
        opened(f"voc:{write(files={'ImageSets/Main/train.txt': ''})}")


@pytest.mark.parametrize("spec", ["coco:{}/x", "voc:{}/x", "yolo:{}/x", "voc:{}/a.txt",
                                  "yolo:{}/a.txt"])  # fmt: skip
def test_no_folder_is_named(write, spec):  # noqa: F811
    spec = spec.format(write(files={"a.txt": LINE}))
    with pytest.raises(DataError, match=f"got dataset={spec}; expected a folder"):
        opened(spec, "all")


def test_what_is_there_is_named_by_its_splits(write):  # noqa: F811
    root = write(files={"instances_trainval.json": one(), "instances_test.json": one(),
                        "a.png": None})  # fmt: skip
    with pytest.raises(DataError, match="expected one of instances_trainval, test"):
        opened(f"coco:{root}", "train")
    assert by_file(opened(f"coco:{root}", "trainval")) == {"a.png": CAT}


@pytest.mark.parametrize("ending", ["tif", "HEIC"])
def test_images_that_nothing_decodes_are_told(write, ending):  # noqa: F811
    files = {"a.txt": LINE, f"a.{ending}": b"", "b.txt": "1e300 .5 .5 .5 .5"}
    source = opened(f"yolo:{write(files={**files, 'b.png': None})}", "all")
    assert source.dirt == {"lone": 1, "foreign": 1, "unknown": 1}


@pytest.mark.parametrize("kind", ["yolo", "coco"])
def test_a_year_that_is_asked_for_is_no_other(write, kind):  # noqa: F811
    files = {}
    for split in ("train2014", "train2017", "val2014", "val2017"):
        image = f"{split}.png"
        if kind == "yolo":
            files |= {f"images/{split}/{image}": None, f"labels/{split}/0.txt": LINE}
            files |= {f"labels/{split}/{split}.txt": LINE}
        else:
            files |= {f"{split}/{image}": None}
            files[f"annotations/instances_{split}.json"] = coco([(1, image)], [])
    root = write(files=files)
    for split, years in {"val2017": "7", "train2014": "4", "train": "47"}.items():
        found = sorted(by_file(opened(f"{kind}:{root}", split)))
        assert found == [f"{split.rstrip('0123456789')}201{year}.png" for year in years]
