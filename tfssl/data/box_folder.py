"""`coco:DIR`, `voc:DIR`, `yolo:DIR`: images with boxes in the three usual formats.

Which annotation belongs to which image: `box_layout`. What is wrong with the files:
`box_files.DIRT`.

EXIF orientation. Boxes are in the pixels that the annotator saw. Where an annotation
says the image's size and that is the size as the file lies, it stays so; else the
picture is turned upright, as programs show it, whatever `--orient` says.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfssl.config import dataset_name
from tfssl.config.dataset_name import is_held_out, role
from tfssl.config.remote import is_remote
from tfssl.data import box_files, upright
from tfssl.data.box_files import Annotation, Tally
from tfssl.data.box_layout import FORMATS
from tfssl.data.decode import decode
from tfssl.data.files import Files
from tfssl.data.host_table import Numbers
from tfssl.data.mask_reading import heads
from tfssl.data.objects import Objects, OfImage
from tfssl.data.source import Reading, Source, SourceOptions
from tfssl.data.splits import Split, held_out_tenth, nothing_held_out
from tfssl.data.text_files import canonical
from tfssl.data.tree import path_hash
from tfssl.errors import DataError, message, printable, unknown


class BoxFolder(Files):
    """Images with boxes; see the module.

    `id` is the hash of the image's path, which also gives the order.

    Args:
      kind: Of `FORMATS`.
      root: Folder, or COCO's JSON.
      split: `train`, `test` or another of the data set's, `all`; possibly sliced.
      max_pixels: See `Encoded`.

    Attributes:
      objects: The boxes, in pixels of the picture as `example` gives it.
      dirt: Kinds of `box_files.DIRT` to how often they were met.

    Raises:
      DataError: No such split, or no image with an annotation.
    """

    def __init__(self, kind: str, root: str, split: Split, *, max_pixels: int = 0):
        tally = Tally()
        found = FORMATS[kind](root, split.name, tally)
        folder = os.path.dirname(root) if os.path.isfile(root) else root
        hashes = np.array([path_hash(p) for p in found.images], np.int64).reshape(-1, 2)
        places = np.lexsort((hashes[:, 1], hashes[:, 0]))
        if found.pooled and split.name != "all":
            places = places[_kept(hashes[places, 1], split.name, kind, root)]
        heads_of = heads(
            len(places), lambda n: os.path.join(folder, found.images[places[n]])
        )
        ways, kept, rows, broken = [], [], [], {}
        for place, head in zip(places.tolist(), heads_of, strict=True):
            path = found.images[place]
            if isinstance(head, str):
                tally.add("broken_image", path)
                broken[os.path.join(folder, path)] = head.removeprefix("its image ")
                continue
            seen = _as_seen(found.annotations[place], head, path, tally)
            if seen is None:
                continue
            way, size = seen
            ways.append(way)
            kept.append(place)
            rows.append(box_files.within(found.annotations[place], size, path, tally))
        name = f"{kind}:{root}/{split.text}"
        if not kept:
            raise DataError(_nothing(name, kind, tally))
        start, stop = split.bounds(len(kept))
        kept, ways, rows = (part[start:stop] for part in (kept, ways, rows))
        super().__init__(
            name,
            [os.fsencode(os.path.join(folder, found.images[p])) for p in kept],
            hashes[kept, 0],
            [""] * len(kept),
            (),
            max_pixels,
        )
        self.objects = _objects(found.names, rows)
        self.targets_digest = self.objects.digest()
        self.dirt = tally.counts
        self.reading = Reading(
            held_out=found.held_out if is_held_out(split.name) else "",
            notes=(self.objects.text(), *found.notes, *tally.notes()),
        )
        self._turned = bool(max(ways) > 1)
        self._ways = Numbers(np.array(ways, np.int64))
        for path, reason in broken.items():
            self._skips.add(path, reason)

    def example(self, index: tf.Tensor) -> dict[str, tf.Tensor]:
        """See `Source.example`; the picture as its annotator saw it."""
        found = self.encoded(index)
        image = decode(found.pop("data"), self.max_pixels)
        if self._turned:
            image = upright.turn(image, tf.cast(self._ways(index), tf.int32))
        return {"image": tf.ensure_shape(image, [None, None, 3]), **found}

    def mostly_jpeg(self) -> str:
        """See `Encoded.mostly_jpeg`."""
        return "" if self._turned else super().mostly_jpeg()


def _kept(second: np.ndarray, split: str, kind: str, root: str) -> np.ndarray:
    """Bool `[n]`: which of the images of a data set without splits are a split's."""
    if not role(split):
        raise DataError(
            unknown(f"split of {kind}:{root}", split, ("train", "test", "all"))
        )
    held_out = held_out_tenth(second)
    kept = held_out if is_held_out(split) else ~held_out
    if len(kept) and not kept.any():
        raise DataError(nothing_held_out(f"{kind}:{root}", len(kept)))
    return kept


def _as_seen(
    annotation: Annotation, head: tuple[int, int, int], path: str, tally: Tally
) -> tuple[int, tuple[int, int]] | None:
    """EXIF orientation by which to turn an image, and its size then; None: neither."""
    height, width, way = head
    lying = (height, width)
    standing = (width, height) if way > 4 else lying
    if annotation.size == lying != standing:
        return 1, lying
    if annotation.size not in (None, standing):
        tally.add("size", path)
        return None
    if way > 1:
        tally.add("turned", path)
    return way, standing


def _objects(
    names: tuple[str, ...], rows: Sequence[Sequence[box_files.Box]]
) -> Objects:
    """Names that no file lists are those that are there, sorted."""
    names = tuple(dict.fromkeys(map(canonical, names)))
    if not names:
        there = {canonical(box.label) for boxes in rows for box in boxes}
        # "class 10" behind "class 9".
        names = tuple(sorted(there, key=lambda n: (re.sub(r"\d+", "", n), len(n), n)))
    place = {name: number for number, name in enumerate(names)}
    images = []
    for boxes in rows:
        corners = [box.corners for box in boxes]
        own = [(c[2] - c[0]) * (c[3] - c[1]) for c in corners]
        areas = [
            size if box.area is None or box.area <= 0 else box.area
            for box, size in zip(boxes, own, strict=True)
        ]
        labels = [place[canonical(box.label)] for box in boxes]
        images.append(OfImage.of(corners, labels, [b.kind for b in boxes], areas))
    return Objects(names, tuple(images))


def _nothing(name: str, kind: str, tally: Tally) -> str:
    wrong = "; ".join(tally.notes()) or "no files of that kind"
    return message(
        f"{printable(name)} without an image that has an annotation ({wrong})",
        {
            "coco": "annotations/instances_SPLIT.json, or a JSON beside the images",
            "voc": "Annotations/*.xml and JPEGImages/*",
            "yolo": "labels/*.txt and images/*",
        }[kind],
        "another folder, or another split",
    )


def _open(kind: str, argument: str, split: Split, options: SourceOptions) -> Source:
    if not argument:
        raise DataError(
            message(f"dataset={kind}:", f"{kind}:DIR", f"dataset={kind}:data")
        )
    if is_remote(argument):
        got = f"dataset={kind}:{argument}"
        raise DataError(message(got, "a folder of this machine", "a copy of it"))
    root = dataset_name.located(argument, options.data_dir)
    if lost := dataset_name.missing(f"{kind}:{root}"):
        raise DataError(
            message(f"dataset={kind}:{lost[0]}", "a folder", "another path")
        )
    return BoxFolder(kind, root, split, max_pixels=options.max_pixels)


def open_coco(argument: str, split: Split, options: SourceOptions) -> Source:
    """Opens `coco:DIR` or `coco:FILE.json`."""
    return _open("coco", argument, split, options)


def open_voc(argument: str, split: Split, options: SourceOptions) -> Source:
    """Opens `voc:DIR`."""
    return _open("voc", argument, split, options)


def open_yolo(argument: str, split: Split, options: SourceOptions) -> Source:
    """Opens `yolo:DIR`."""
    return _open("yolo", argument, split, options)
