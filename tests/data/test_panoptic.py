"""COCO's panoptic masks: on disk and in TensorFlow Datasets, and all that is wrong."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from tests.data.test_masks import SIZE, by_name, numbers, opened, png, rows, said, write
from tests.pictures import encoded, picture
from tfssl.data import masks, open_source
from tfssl.data.mask_files import read_mask
from tfssl.errors import DataError

CATEGORIES = {7: "sky", 1: "person", 200: "rug"}
NAMES = ("person", "sky", "rug")  # in the order of their ids
IDS = (3226956, 7, 65793 * 9, 256, 65536 + 1)


def ids_of(seed, ids=IDS, size=SIZE):
    """A mask of ids, 0 among them, each at least once."""
    rng = np.random.default_rng(seed)
    out = rng.choice([0, *ids], size)
    out.ravel()[: len(ids) + 1] = [0, *ids]
    return out


def as_rgb(ids):
    return np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)


def rgb_png(ids):
    return png(as_rgb(ids))


def slowly(ids, classes):
    """Class of each pixel, one at a time."""
    out = np.full(ids.shape, 255, np.uint8)
    colours = as_rgb(ids)
    for place in np.ndindex(*ids.shape):
        red, green, blue = map(int, colours[place])
        out[place] = classes.get(red + 256 * green + 256**2 * blue, 255)
    return out


def segments(ids=IDS, categories=(1, 7, 200, 1, 7)):
    pairs = zip(ids, categories, strict=False)
    return [{"id": i, "category_id": c, "iscrowd": n % 2, "bbox": [0, 0, 1, 1]}
            for n, (i, c) in enumerate(pairs)]  # fmt: skip


CLASSES = dict(zip(IDS, (0, 1, 2, 0, 1), strict=True))


def content(places, named=None):
    return {
        "images": [{"id": 10 + n, "file_name": f"{n}.jpg", "height": SIZE[0],
                    "width": SIZE[1]} for n in places],
        "annotations": [{"image_id": 10 + n, "file_name": f"{n}.png",
                         "segments_info": segments()} for n in places],
        "categories": [{"id": i, "name": name, "isthing": 1}
                       for i, name in (named or CATEGORIES).items()],
    }  # fmt: skip


def part(split, places, json_at="annotations", png_at="annotations/", image_at=""):
    files = {f"{image_at}{split}/{n}.jpg": encoded(picture(n), "JPEG") for n in places}
    folder = f"{png_at.format(split)}panoptic_{split}"
    files |= {f"{folder}/{n}.png": rgb_png(ids_of(n)) for n in places}
    place = f"{json_at}/" if json_at else ""
    files[f"{place}panoptic_{split}.json"] = json.dumps(content(places)).encode()
    return files


@pytest.mark.parametrize(
    ("json_at", "png_at", "image_at"),
    [
        ("annotations", "annotations/", ""),  # as the archives unpack
        ("annotations", "", "images/"),  # as detectron2 has it
        ("", "", ""),
        ("annotations", "annotations/panoptic_{}/", ""),  # unpacked into a folder
    ],
)
def test_cocos_own_layout(tmp_path, json_at, png_at, image_at):
    places = json_at, png_at, image_at
    files = part("train2017", [0, 1, 2], *places) | part("val2017", [3, 4], *places)
    files["annotations/instances_val2017.json"] = b"{}"
    write(tmp_path, files)
    for split, names in {"train": "012", "test": "34", "all": "01234"}.items():
        source = opened(tmp_path, split)
        assert source.pixel_classes == NAMES
        found = by_name(source)
        assert sorted(found) == [*names]
        for name, row in found.items():
            want = slowly(ids_of(int(name)), CLASSES)
            np.testing.assert_array_equal(row["mask"][..., 0], want)
        assert "left out" not in said(source) and "no class" not in said(source)
    assert opened(tmp_path, "val2017").num_examples == 2
    with pytest.raises(DataError, match="split"):
        opened(tmp_path, "nonsense")
    # Without masks wanted it is a set of images.
    images = opened(tmp_path, "train", targets="", memory=0)
    assert images.num_examples == 3 and "mask" not in rows(images)[0]


def test_without_splits_a_tenth_is_held_out_and_other_layouts_go_before(tmp_path):
    write(tmp_path, part("x", range(40)))
    train, test = (opened(tmp_path, split) for split in ("train", "test"))
    assert train.num_examples + test.num_examples == 40 and test.num_examples
    # ADE20K has JSONs of segments beside masks of classes.
    for split in ("training", "validation"):
        write(tmp_path / "a", {f"images/{split}/0.jpg": encoded(picture(0), "JPEG"),
                               f"annotations/{split}/0.png": png(numbers(0, 2)),
                               f"ade_panoptic_{split}.json": b"{}"})  # fmt: skip
    assert opened(tmp_path / "a").pixel_classes == ("class 0", "class 1")


def test_held_out_classes_are_those_of_training_by_name(tmp_path):
    files = part("train2017", [0]) | part("val2017", [1])
    other = content([1], {1: "rug", 7: "person", 200: "lamp"})
    files["annotations/panoptic_val2017.json"] = json.dumps(other).encode()
    write(tmp_path, files)
    source = opened(tmp_path, "val")
    assert source.pixel_classes == NAMES
    (row,) = rows(source)
    classes = dict(zip(IDS, (2, 0, 255, 2, 0), strict=True))
    np.testing.assert_array_equal(row["mask"][..., 0], slowly(ids_of(1), classes))
    assert "1 segments of classes that training lacks" in said(source)


def test_dirt_is_named_counted_and_never_fatal(tmp_path):
    files, told = part("train2017", range(16)), content(range(16))
    at = "annotations/panoptic_train2017"
    by_number = {row["image_id"] - 10: row for row in told["annotations"]}
    del files[f"{at}/0.png"], files["train2017/1.jpg"]
    files[f"{at}/2.png"] = rgb_png(ids_of(2, size=(12, 11)))
    files[f"{at}/3.png"] = encoded(as_rgb(ids_of(3)), "JPEG")
    files[f"{at}/4.png"] = rgb_png(0 * ids_of(4))
    files[f"{at}/5.png"] = b"no picture"
    by_number[6]["segments_info"] = segments(IDS[:3])  # two ids are in no row
    by_number[7]["segments_info"] = segments(categories=(1, 99, None, 1, 7))
    by_number[8]["segments_info"] += [{"id": IDS[0], "category_id": 200}, {}, 3]
    by_number[9]["segments_info"] = None
    told["annotations"] += [{**by_number[10], "file_name": "again.png"}]
    told["annotations"] += [{"image_id": 999, "file_name": "x.png"}, None]
    told["images"] += [{"id": 50, "file_name": "11.jpg"}, {"id": 12, "file_name": "y"},
                       {"file_name": "z"}]  # fmt: skip
    told["annotations"] += [{"image_id": 50, "file_name": "11.png"}]
    told["annotations"].remove(by_number[12])
    files[f"{at}/13.PNG"] = files.pop(f"{at}/13.png")
    files[f"{at}/unlisted.png"] = rgb_png(ids_of(1))
    by_number[14].pop("file_name")
    told["images"][15]["file_name"] = "elsewhere\\train2017\\15.jpg"
    files["annotations/panoptic_train2017.json"] = json.dumps(told).encode()
    write(tmp_path, files)
    source = opened(tmp_path)
    for words in (
        "2 images without a mask left out",  # 0, whose PNG is not there; 12
        "1 masks without an image left out, such as "
        "annotations/panoptic_train2017/1.png",
        "2 masks of images that the file does not list",
        "2 masks of an image that has one",
        "2 masks that no file lists",  # 12.png, too
        "2 segments without an id",
        "1 segments with the id of another",
        "2 segments of a class without a name",
        "1 annotations that cannot be read",  # the image without an id
        "1 images with the id of another",
        "5 pairs left out",
        "2 masks hold numbers that are no class",  # 9, too
    ):
        assert words in said(source), words
    reasons = {r["path"].rsplit("/", 1)[-1]: r["reason"] for r in source.skipped()}
    assert "is 12 x 11" in reasons["2.png"] and "JPEG" in reasons["3.png"]
    assert "all are ignored" in reasons["4.png"] and "not readable" in reasons["5.png"]
    assert "all are ignored" in reasons["9.png"]
    found = by_name(source)
    assert {*map(int, found)} == {6, 7, 8, 10, 11, 13, 14, 15}
    classes = {
        6: dict(zip(IDS[:3], (0, 1, 2), strict=True)),
        7: dict(zip(IDS, (0, 255, 255, 0, 1), strict=True)),
    }
    for name, row in found.items():
        want = slowly(ids_of(int(name)), classes.get(int(name), CLASSES))
        np.testing.assert_array_equal(row["mask"][..., 0], want, err_msg=name)


@pytest.mark.parametrize("text", [b"{", b"[]", b"{}", b'{"images": 1}', b""])
def test_a_json_that_is_none_is_an_error_that_says_so(tmp_path, text):
    write(tmp_path, part("val2017", [0]) | {"annotations/panoptic_val2017.json": text})
    with pytest.raises(DataError, match="1 annotations that cannot be read"):
        opened(tmp_path)


def test_nothing_that_fits_and_too_many_classes_are_refused(tmp_path):
    files = part("val2017", [0, 1])
    write(tmp_path, {name: data for name, data in files.items() if "png" not in name})
    with pytest.raises(DataError, match="2 images without a mask.*called as the JSON"):
        opened(tmp_path)
    many = content([0], {n: f"c{n}" for n in range(256)})
    write(tmp_path, part("val2017", [0]))
    write(tmp_path, {"annotations/panoptic_val2017.json": json.dumps(many).encode()})
    with pytest.raises(DataError, match="256 names.*at most 255"):
        opened(tmp_path)


def saved(image):
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def test_every_kind_of_png_gives_its_ids():
    ids = ids_of(0)
    image = Image.fromarray(as_rgb(ids))
    want = slowly(ids, CLASSES)
    for kind in (image, image.convert("RGBA"), image.quantize(len(IDS) + 1)):
        found = read_mask(saved(kind), segments=CLASSES)
        np.testing.assert_array_equal(found.numbers, want)
        assert found.above == 0
    # Grey: ids of up to 16 bits, or colours whose channels are equal.
    small = ids_of(0, (7, 256))
    found = read_mask(saved(Image.fromarray(small.astype(np.uint16))), 0, CLASSES)
    np.testing.assert_array_equal(found.numbers, slowly(small, CLASSES))
    equal = ids_of(0, (65793 * 9,))
    found = read_mask(saved(Image.fromarray(as_rgb(equal)).convert("L")), 0, CLASSES)
    np.testing.assert_array_equal(found.numbers, slowly(equal, CLASSES))
    strange = ids_of(0, (*IDS, 5))
    found = read_mask(rgb_png(strange), 0, CLASSES)
    assert found.above == (strange == 5).sum()
    np.testing.assert_array_equal(found.numbers, slowly(strange, CLASSES))


def test_the_index_is_made_anew_when_the_json_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(masks, "WORTH", 1)
    write(tmp_path, part("val2017", [0]))
    first = opened(tmp_path)
    told = content([0], {7: "person", 1: "sky", 200: "rug"})
    told = json.dumps(told).encode()
    write(tmp_path, {"annotations/panoptic_val2017.json": told})
    again = opened(tmp_path)
    assert again.pixel_classes == ("sky", "person", "rug")
    told = json.loads(told)
    told["annotations"][0]["segments_info"] = segments(categories=(7, 1, 200, 1, 7))
    told = json.dumps(told).encode()
    write(tmp_path, {"annotations/panoptic_val2017.json": told})
    changed = opened(tmp_path)
    assert len({s.targets_digest for s in (first, again, changed)}) >= 2
    (row,) = rows(changed)
    classes = dict(zip(IDS, (1, 0, 2, 0, 1), strict=True))
    np.testing.assert_array_equal(row["mask"][..., 0], slowly(ids_of(0), classes))


def stuff(number):
    return np.random.default_rng(number).choice([0, 91, 180, 255], SIZE)


def test_coco_stuffs_index_masks_read_as_plain_folders(tmp_path):
    """Its PNG count from 0 to 181, its labels.txt from 1, behind "unlabeled"."""
    names = [f"{n}: {'unlabeled' if not n else f'c{n}'}" for n in range(183)]
    for split, first in {"train2017": 0, "val2017": 3}.items():
        for n in range(first, first + 3):
            mask = png(stuff(n).astype(np.uint8))
            write(tmp_path, {f"images/{split}/{n}.jpg": encoded(picture(n), "JPEG"),
                             f"annotations/{split}/{n}.png": mask})  # fmt: skip
    write(tmp_path, {"labels.txt": "\n".join(names).encode()})
    for split in ("train", "val"):
        source = opened(tmp_path, split)
        assert source.num_examples == 3
        assert source.pixel_classes[:2] == ("c1", "c2")
        assert len(source.pixel_classes) == 182
        assert "names count from 1" in said(source)
        for name, row in by_name(source).items():
            np.testing.assert_array_equal(row["mask"][..., 0], stuff(int(name)))


@pytest.mark.slow
def test_a_prepared_data_set_with_the_names_of_coco(tmp_path):
    tfds = pytest.importorskip("tensorflow_datasets")

    class Panoptic(tfds.core.GeneratorBasedBuilder):
        __module__ = "panoptic"
        VERSION = tfds.core.Version("1.1.0")

        def _info(self):
            # As tensorflow_datasets/object_detection/coco.py has them.
            objects = {
                "id": np.int64,
                "area": np.int64,
                "bbox": tfds.features.BBoxFeature(),
                "label": tfds.features.ClassLabel(names=NAMES),
                "is_crowd": np.bool_,
            }
            features = {
                "image": tfds.features.Image(encoding_format="jpeg"),
                "image/filename": tfds.features.Text(),
                "image/id": np.int64,
                "panoptic_image": tfds.features.Image(encoding_format="png"),
                "panoptic_image/filename": tfds.features.Text(),
                "panoptic_objects": tfds.features.Sequence(objects),
            }
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, dl_manager):
            make = self._generate_examples
            return {"train": make(range(4)), "validation": make([4, 5])}

        def _generate_examples(self, numbers):
            for n in numbers:
                labels = {2: (0, -1, 2, 0, 1), 3: (0, 1, 2)}.get(n, (0, 1, 2, 0, 1))
                box = tfds.features.BBox(0.0, 0.0, 1.0, 1.0)
                objects = [{"id": i, "area": 1, "bbox": box, "label": k, "is_crowd": 0}
                           for i, k in zip(IDS, labels, strict=False)]  # fmt: skip
                ids = ids_of(n, size=(12, 11) if n == 1 else SIZE)
                yield (
                    n,
                    {
                        "image": picture(n, *SIZE),
                        "image/filename": f"{n}.jpg",
                        "image/id": n,
                        "panoptic_image": as_rgb(ids),
                        "panoptic_image/filename": f"{n}.png",
                        "panoptic_objects": objects,
                    },
                )

    for form in ("tfrecord", "array_record"):
        if form == "array_record":
            pytest.importorskip("array_record")
        place = str(tmp_path / form)
        config = tfds.download.DownloadConfig(try_download_gcs=False)
        builder = Panoptic(data_dir=place, file_format=form)
        builder.download_and_prepare(download_config=config)
        how = {"image_size": 8, "data_dir": place, "targets": "mask"}
        train, held_out = (
            open_source("tfds:panoptic", split, **how)
            for split in ("train", "validation")
        )
        assert train.pixel_classes == held_out.pixel_classes == NAMES
        assert (train.num_examples, held_out.num_examples) == (3, 2)  # 1: of two sizes
        for words in ("1 segments of a class without a name", "1 pairs left out",
                      "1 masks hold numbers that are no class"):  # fmt: skip
            assert words in said(train), words
        wanted = [slowly(ids_of(n), CLASSES) for n in (0, 2, 3, 4, 5)]
        ids = ids_of(2)
        wanted[1][ids == IDS[1]] = 255
        wanted[2][np.isin(ids_of(3), IDS[3:])] = 255
        found = {row["mask"].tobytes() for s in (train, held_out) for row in rows(s)}
        assert found == {mask.tobytes() for mask in wanted}
