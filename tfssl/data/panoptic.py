"""COCO's panoptic masks: which belongs to which image, and what its colours mean.

A JSON with `panoptic` in its name, in DIR or a folder there, lists for each image a PNG
and its segments: an id, which is R + 256 G + 256**2 B of the segment's pixels, and a
category. The PNG are in a folder that is called as the JSON is, anywhere below DIR; the
images where COCO's are (`train2017/`, `images/train2017/`, or where their path fits).
Pixels of no segment belong to no class; crowds are of their category.
(cocodataset.org/#format-data, "Panoptic Segmentation".) No TensorFlow.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tfssl.augment.dense import IGNORED
from tfssl.config.dataset_name import role
from tfssl.data.box_files import DIRT, CocoRows, Tally, coco_id, coco_rows
from tfssl.data.box_layout import image_finder
from tfssl.data.mask_layout import (
    Pairs,
    chosen_split,
    numbered,
    other_splits,
    plain_splits,
    require_few,
    split_lists,
)
from tfssl.data.scan import files_below, is_image
from tfssl.data.text_files import canonical
from tfssl.errors import DataError, message

KINDS: Mapping[str, str] = {
    **{kind: DIRT[kind] for kind in ("unreadable", "encoding", "twin_ids",
                                     "twin_classes")},
    "no_image_row": "masks of images that the file does not list: left out",
    "twin_masks": "masks of an image that has one: left out",
    "unlisted": "masks that no file lists: left out",
    "no_segment": "segments without an id: left out",
    "twin_segments": "segments with the id of another: the first counts",
    "unknown": "segments of a class without a name: ignored",
    "lacking": "segments of classes that training lacks: ignored",
}  # fmt: skip
"""What can be wrong with such files, in words, in the order in which it is told."""

Segments = dict[int, int]
"""The class, or `IGNORED`, of each id of a mask."""


def panoptic_files(root: str) -> list[str]:
    """The JSONs of a folder that has such masks and none that its folders tell."""
    if not os.path.isdir(root) or plain_splits(root) or split_lists(root):
        return []
    with os.scandir(root) as found:
        places = ["", *(e.name for e in found if e.is_dir() and e.name[0] != ".")]
    return sorted(
        os.path.join(place, name)
        for place in places
        if os.access(os.path.join(root, place), os.R_OK)
        for name in os.listdir(os.path.join(root, place))
        if re.fullmatch(r"[^.].*\.json", name, re.I) and "panoptic" in name.lower()
    )


def panoptic_pairs(root: str, files: Sequence[str], split: str) -> Pairs:
    """Finds the images of a split, their masks and segments.

    Args:
      root: Folder of the data set.
      files: Of `panoptic_files`.
      split: `train`, a held-out one, another that is there, or `all`.

    Raises:
      DataError: No such split, no pair, or more classes than a mask has numbers for.
    """
    tally = Tally(KINDS)
    chosen, held_out = _of_split(root, files, split)
    read = {path: coco_rows(os.path.join(root, path), tally) for path in chosen}
    names = _names(root, files, read)
    place = {name: number for number, name in enumerate(names)}
    below = files_below(root)
    of_masks = [f"/{_stem(path)}/" for path in files]
    pictures = [
        p for p in below if is_image(p) and not any(f in f"/{p}" for f in of_masks)
    ]
    images: dict[str, tuple[str, Segments]] = {}
    lone: list[str] = []
    bare: list[str] = []
    for path, content in read.items():
        rows = _rows(path, content, place, tally) if content else {}
        image_of, mask_of = image_finder(pictures, path), _Masks(below, path)
        for file, (png, segments) in rows.items():
            image, mask = image_of(file), mask_of.taken(png)
            if not image:
                lone.append(mask or f"{png} in {path}")
            elif not mask:
                bare.append(image)
            elif image in images:
                tally.add("twin_masks", mask)
            else:
                images[image] = mask, segments
        for mask in filter(is_image, mask_of.left.values() if rows else ()):
            tally.add("unlisted", mask)
    folders, there = {*map(os.path.dirname, images)}, images.keys() | {*bare}
    bare += [p for p in pictures if os.path.dirname(p) in folders and p not in there]
    if not images:
        wrong = [*tally.notes(), f"{len(lone)} masks without an image",
                 f"{len(bare)} images without a mask"]  # fmt: skip
        raise DataError(
            message(
                f"masks:{root} with {', '.join(chosen)} and no image of it that has a "
                f"mask ({'; '.join(wrong)})",
                "images, and a folder of PNG that is called as the JSON is",
                "train2017/, panoptic_train2017.json and panoptic_train2017/",
            )
        )
    order = sorted(images)
    return Pairs(
        order,
        [images[path][0] for path in order],
        sorted(bare),
        lone,
        tuple(tally.notes()),
        held_out,
        not held_out,
        names,
        True,
        numbered(dict(enumerate(names))),
        [images[path][1] for path in order],
    )


class _Masks:
    """The files of a folder that is called as a JSON is.

    Attributes:
      left: Those that nothing took yet, by their path in that folder.
    """

    def __init__(self, below: Sequence[str], path: str):
        self._folder = f"/{_stem(path)}/"
        own = (p for p in below if self._folder in f"/{p}")
        self.left = {self._inside(p): p for p in own}
        self._loose = {name.casefold(): name for name in self.left}

    def taken(self, name: str) -> str:
        """The path of a file that the JSON calls so; "" where it is not there."""
        name = self._inside(os.path.normpath(name.replace("\\", "/")))
        if name not in self.left:
            name = self._loose.get(name.casefold(), "")
        return self.left.pop(name, "")

    def _inside(self, path: str) -> str:
        return canonical(f"/{path}".rpartition(self._folder)[2]).lstrip("/")


def _of_split(root: str, files: Sequence[str], split: str) -> tuple[Sequence[str], str]:
    """The JSONs of a split; where held-out images are, "" where no JSON has them."""
    known: dict[str, list[str]] = {}
    for path in files:
        if name := _split_of(path):
            known.setdefault(name, []).append(path)
    if all(role(name) == "train" for name in known):
        return files, ""
    if split == "all":
        return files, ", ".join(sorted(known))
    name = chosen_split(split, [*known], f"masks:{root}")
    return known[name], other_splits(known) if role(name) == "train" else name


def _split_of(path: str) -> str:
    """The word of a JSON's name that is a split's, as `val2017`; or ""."""
    words = re.split(r"[_.-]", _stem(path))
    return next(filter(role, words), "")


def _names(
    root: str, files: Sequence[str], read: Mapping[str, CocoRows | None]
) -> tuple[str, ...]:
    """Names of the classes: of the training JSON, where there is one."""
    training = [path for path in files if role(_split_of(path)) == "train"]
    found: dict[str, None] = {}
    for path in training or read:
        content = read[path] if path in read else coco_rows(
            os.path.join(root, path), Tally(KINDS)
        )  # fmt: skip
        found |= dict.fromkeys(map(canonical, content.names if content else ()))
    require_few([*found])
    return tuple(found)


def _rows(
    path: str, content: CocoRows, place: Mapping[str, int], tally: Tally
) -> dict[str, tuple[str, Segments]]:
    """File name of each image to that of its mask, and the segments."""
    found: dict[str, tuple[str, Segments]] = {}
    for row in content.annotations:
        of = coco_id(row.get("image_id")) if isinstance(row, dict) else None
        if of is None or of not in content.images:
            tally.add("no_image_row", f"image_id {of} in {path}")
            continue
        file = content.images[of]["file_name"]
        png = row.get("file_name")
        png = png if isinstance(png, str) else f"{os.path.splitext(file)[0]}.png"
        if file in found:
            tally.add("twin_masks", f"{png} in {path}")
            continue
        rows = row.get("segments_info")
        rows = rows if isinstance(rows, list) else []
        found[file] = png, _segments(rows, content, place, f"{png} in {path}", tally)
    return found


def _segments(
    rows: Sequence[Any], content: CocoRows, place: Mapping[str, int],
    where: str, tally: Tally,
) -> Segments:  # fmt: skip
    found: Segments = {}
    for row in rows:
        number = coco_id(row.get("id")) if isinstance(row, dict) else None
        if not isinstance(number, int):
            tally.add("no_segment", where)
            continue
        if number in found:
            tally.add("twin_segments", where)
            continue
        name = content.named.get(coco_id(row.get("category_id")), "")
        if not name or canonical(name) not in place:
            tally.add("lacking" if name else "unknown", where)
        found[number] = place.get(canonical(name), IGNORED)
    return found


def _stem(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]
