"""Annotations are read once in a process, and again when a file of theirs changed."""

import builtins
import contextlib
import json
import os

import pytest

from tests.data.test_boxes import coco, xml
from tests.data.test_masks import numbers, plain, png, write
from tests.data.test_panoptic import content, part, segments
from tests.pictures import encoded, picture
from tfssl.data import open_source, sources
from tfssl.errors import DataError

IMAGE = encoded(picture(0, 40, 60), "PNG")
BOX = [("cat", 6, 7, 25, 17, 0)]


def panoptic():
    """A data set, and a file of it with other segments in as many bytes."""
    files, told = part("val2017", [0, 1]), content([0, 1])
    told["annotations"][0]["segments_info"] = segments(categories=(7, 1, 200, 1, 7))
    return files, {"annotations/panoptic_val2017.json": json.dumps(told).encode()}


def of_coco():
    files = {f"{n}.png": IMAGE for n in "ab"}
    images = [(1, "a.png"), (2, "b.png")]
    first, second = (
        {"x.json": json.dumps(coco(images, [(1, 10, [x, 6, 20, 10])])).encode()}
        for x in (5, 7)
    )
    return files | first, second


MADE = {
    "coco": of_coco,
    "voc": lambda: (
        {"JPEGImages/a.png": IMAGE, "Annotations/a.xml": xml(BOX).encode()},
        {"Annotations/a.xml": xml([("dog", *BOX[0][1:])]).encode()},
    ),
    "yolo": lambda: (
        {"images/a.png": IMAGE, "labels/a.txt": b"0 .5 .5 .2 .2"},
        {"labels/a.txt": b"0 .5 .5 .3 .2"},
    ),
    "masks": lambda: (plain(2), {"masks/1.png": png(numbers(1)[::-1])}),
    "panoptic": panoptic,
}


@pytest.mark.parametrize("kind", sorted(MADE))
def test_once_and_again_when_a_file_changed(tmp_path, monkeypatch, kind):
    files, change = MADE[kind]()
    write(tmp_path, files)
    read, real = [], builtins.open

    def counted(path, *arguments, **options):
        read.append(path)
        return real(path, *arguments, **options)

    monkeypatch.setattr(builtins, "open", counted)
    spec = f"{'masks' if kind == 'panoptic' else kind}:{tmp_path}"
    target = "mask" if spec.startswith("masks") else "boxes"

    def opened(split="all", **more):
        how = {"image_size": 8, "index_dir": str(tmp_path.parent / "index")} | more
        return open_source(spec, split, **{"targets": target} | how)

    first = opened()
    assert read
    read.clear()
    assert opened() is opened(image_size=16) is first and not read
    if target == "boxes":  # which pre-training opens, too
        assert opened(targets="", memory=0) is first and not read
    assert opened("all[:1]") is not first and read
    read.clear()
    assert opened(rebuild_index=True) is not first and read
    assert opened() is first
    (name,) = change
    before = os.stat(tmp_path / name)
    write(tmp_path, change)
    os.utime(tmp_path / name, ns=(before.st_atime_ns, before.st_mtime_ns))
    read.clear()
    changed = opened()
    assert read and changed.targets_digest != first.targets_digest
    (tmp_path / name).rename(tmp_path.parent / "gone")
    with contextlib.suppress(DataError):  # of some nothing is left
        assert opened().targets_digest != changed.targets_digest


def test_the_newest_are_kept(tmp_path):
    write(tmp_path, plain(20))
    how = {"image_size": 8, "index_dir": str(tmp_path.parent / "index")}
    most = sources.MOST_KEPT
    opened = [
        open_source(f"masks:{tmp_path}", f"all[:{n + 1}]", targets="mask", **how)
        for n in range(most + 1)
    ]
    assert len(sources._kept) == most
    again = open_source(f"masks:{tmp_path}", f"all[:{most + 1}]", targets="mask", **how)
    assert again is opened[-1]
    first = open_source(f"masks:{tmp_path}", "all[:1]", targets="mask", **how)
    assert first is not opened[0] and first.targets_digest == opened[0].targets_digest
