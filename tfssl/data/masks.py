"""`masks:DIR`: images with a mask of classes each, in the layouts of `mask_layout`.

COCO's panoptic one is in `panoptic`.

How masks are read, and what is left out: `mask_reading`. The masks that were read are
kept in an index, which is made anew when a mask has another size or time. The classes
are those of the data set's own file, of its layout, or numbers up to the highest one
that the training split holds.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence

import numpy as np

from tfssl.config import dataset_name
from tfssl.config.dataset_name import is_held_out, role
from tfssl.config.remote import cache_directory, is_remote
from tfssl.data import index_file
from tfssl.data.files import Files
from tfssl.data.mask_files import Mask, read_mask
from tfssl.data.mask_layout import Pairs, pairs
from tfssl.data.mask_reading import (
    Classes,
    Read,
    WithMasks,
    agreed,
    also_black_and_white,
    classes_of,
    heads,
    none_left,
    read_masks,
    told,
)
from tfssl.data.panoptic import panoptic_files, panoptic_pairs
from tfssl.data.source import Reading, Source, SourceOptions
from tfssl.data.splits import Split, held_out_tenth, nothing_held_out
from tfssl.data.tree import path_hash
from tfssl.errors import DataError, message, printable, unknown

WORTH = 200
"""Masks from which an index is kept."""
_INDEX = "masks-1"
_HELD_OUT = "a tenth of the images, by a hash of their paths"


def images_of_masks(
    directory: str, split: Split, *, max_pixels: int = 0, **_: object
) -> Files:
    """The images of `masks:DIR` alone, unlabelled; arguments of `MaskFolder`."""
    found = _pairs(directory, split.name)
    paths = [*found.images, *found.bare]
    hashes, order = _ordered(directory, paths, split.name, found.pooled)
    start, stop = split.bounds(len(order))
    order = order[start:stop]
    source = Files(
        f"masks:{directory}/{split.text}",
        [os.fsencode(os.path.join(directory, paths[place])) for place in order],
        hashes[order],
        [""] * len(order),
        (),
        max_pixels,
    )
    held_out = _HELD_OUT if found.pooled else found.held_out
    source.reading = Reading(held_out=held_out, notes=found.notes)
    return source


class MaskFolder(WithMasks, Files):
    """Images and their masks; see the module.

    `id` is the hash of the image's path, which also gives the order.

    Args:
      directory: DIR.
      split: `train`, `test` or another of the layout's, `all`; possibly sliced.
      index_dir: Where the masks that were read are kept; None: nowhere.
      rebuild: Read them anew.
      max_pixels: See `Encoded`; of masks, too.
      orient: `"none"` or `"exif"`.

    Attributes:
      pixel_classes: Names of the classes of pixels.

    Raises:
      DataError: No such folders or split, or no pair that can be used.
    """

    def __init__(
        self,
        directory: str,
        split: Split,
        *,
        index_dir: str | None = None,
        rebuild: bool = False,
        max_pixels: int = 0,
        orient: str = "none",
    ):
        found = _pairs(directory, split.name)
        name = f"masks:{directory}/{split.text}"
        hashes, order = _ordered(directory, found.images, split.name, found.pooled)
        how = index_dir, rebuild, max_pixels
        read = _kept(directory, split.name, found, *how)
        known, training = found, read
        apart = found.table is None and not found.pooled
        if apart and role(split.name) not in ("train", ""):
            known = _pairs(directory, "train")
            training = _kept(directory, "train", known, *how)
        classes = _classes(found, known, training)
        if training is not read:
            classes = also_black_and_white(classes, read.counts)
        paths = [os.path.join(directory, path) for path in found.images]
        fit = agreed(read, heads(len(paths), paths.__getitem__), classes, orient)
        if len(fit.reasons) == len(paths):
            raise DataError(none_left(name, fit, found.masks.__getitem__))
        order = np.array([p for p in order.tolist() if p not in fit.reasons], np.int64)
        start, stop = split.bounds(len(order))
        order = order[start:stop]
        super().__init__(
            name,
            [os.fsencode(paths[place]) for place in order],
            hashes[order],
            [""] * len(order),
            (),
            max_pixels,
        )
        self.keep_masks([read.files[p] for p in order], classes, fit.ways[order])
        self.reading = Reading(
            held_out=_HELD_OUT if found.pooled else found.held_out,
            notes=(
                *found.notes,
                *_alone(found),
                *told(read, classes, fit, found.masks.__getitem__),
            ),
        )
        for place, reason in fit.reasons.items():
            self._skips.add(os.path.join(directory, found.masks[place]), reason)


def _pairs(directory: str, split: str) -> Pairs:
    if files := panoptic_files(directory):
        return panoptic_pairs(directory, files, split)
    return pairs(directory, split)


def _classes(found: Pairs, known: Pairs, training: Read) -> Classes:
    if found.table is not None:
        return Classes(known.names, found.table, partial=found.segments is None)
    return classes_of(training.counts, known.names, sure=known.sure)


def _alone(found: Pairs) -> list[str]:
    """What is to be said of images and masks that have no counterpart."""
    kinds = (
        ("images without a mask", found.bare),
        ("masks without an image", found.lone),
    )
    return [
        f"{len(paths)} {what} left out, such as {printable(paths[0])}"
        for what, paths in kinds
        if paths
    ]


def _ordered(
    directory: str, paths: Sequence[str], split: str, pooled: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of images, int64 `[n]`, and the places of a split's, in order."""
    hashes = np.array([path_hash(path) for path in paths], np.int64)
    order = np.lexsort((hashes[:, 1], hashes[:, 0]))
    if not pooled or split == "all":
        return hashes[:, 0], order
    if not role(split):
        pool = ("train", "test", "all")
        raise DataError(unknown(f"split of masks:{directory}", split, pool))
    held_out = held_out_tenth(hashes[:, 1])[order]
    order = order[held_out if is_held_out(split) else ~held_out]
    if not len(order):
        raise DataError(nothing_held_out(f"masks:{directory}", len(paths)))
    return hashes[:, 0], order


def _kept(
    directory: str,
    split: str,
    found: Pairs,
    index_dir: str | None,
    rebuild: bool,
    max_pixels: int,
) -> Read:
    """The masks of a split, from their index where they are as they were then."""
    paths = [os.path.join(directory, mask) for mask in found.masks]
    stamp, place = _stamp(found, paths, max_pixels), ""
    if index_dir and len(paths) >= WORTH:
        of = os.path.join(os.path.realpath(directory), split)
        place = index_file.place(index_dir, _INDEX, of)
        stored = None if rebuild else index_file.read(place)
        if stored is not None and stored["stamp"].tobytes() == stamp:
            return _unpacked(stored)

    def read_one(number: int) -> Mask:
        with open(paths[number], "rb") as file:
            segments = found.segments[number] if found.segments else None
            return read_mask(file.read(), max_pixels, segments)

    read = read_masks(len(paths), range(len(paths)), read_one)
    if place:
        arrays = _packed(read) | {"stamp": np.frombuffer(stamp, np.uint8)}
        index_file.write(place, arrays)
    return read


def _stamp(found: Pairs, paths: Sequence[str], max_pixels: int) -> bytes:
    """What changes when a mask, or what its colours mean, is written anew."""
    digest = hashlib.sha256(str(max_pixels).encode())
    if found.segments is not None:
        digest.update(repr([[*s.items()] for s in found.segments]).encode())
    for mask, path in zip(found.masks, paths, strict=True):
        try:
            status = os.stat(path)
            text = f"{mask}\0{status.st_size}\0{status.st_mtime_ns}\0"
        except OSError:  # a dead link
            text = f"{mask}\0\0\0"
        digest.update(os.fsencode(text))
    return digest.digest()


def _packed(read: Read) -> index_file.Arrays:
    lengths = np.array([len(data) for data in read.files], np.int64)
    words = json.dumps([read.kinds, sorted(read.reasons.items())]).encode()
    return {
        "files": np.frombuffer(b"".join(read.files), np.uint8),
        "ends": np.cumsum(lengths),
        "counts": read.counts,
        "above": read.above,
        "shapes": read.shapes,
        "words": np.frombuffer(words, np.uint8),
    }


def _unpacked(stored: index_file.Arrays) -> Read:
    data, ends = stored["files"].tobytes(), stored["ends"].tolist()
    files = [data[a:b] for a, b in zip([0, *ends[:-1]], ends, strict=True)]
    kinds, reasons = json.loads(stored["words"].tobytes())
    numbers = stored["counts"], stored["above"], stored["shapes"]
    return Read(files, *numbers, kinds, dict(reasons))


def open_masks(argument: str, split: Split, options: SourceOptions) -> Source:
    """Opens `masks:DIR`; without masks where they are not asked for.

    Raises:
      DataError: See `MaskFolder`; or DIR is on another machine.
    """
    if not argument:
        raise DataError(message("dataset=masks:", "masks:DIR", "dataset=masks:VOC2012"))
    if is_remote(argument):
        got = f"dataset=masks:{argument}"
        raise DataError(message(got, "a folder of this machine", "a copy of it"))
    how = {
        "index_dir": options.index_dir or cache_directory(),
        "rebuild": options.rebuild_index,
        "max_pixels": options.max_pixels,
        "orient": options.orient,
    }
    opener = MaskFolder if options.targets == "mask" else images_of_masks
    return opener(dataset_name.located(argument, options.data_dir), split, **how)
