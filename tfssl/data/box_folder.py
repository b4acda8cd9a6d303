"""`coco:DIR`, `voc:DIR`, `yolo:DIR`: images with boxes in the three usual formats.

* `coco:` COCO's JSON beside a folder of images (`annotations/instances_SPLIT.json`, or
  `SPLIT/_annotations.coco.json`, or one JSON);
* `voc:` one XML an image (`Annotations/`, `JPEGImages/`, `ImageSets/Main/SPLIT.txt`); a
  folder of several such, as VOCdevkit is with VOC2007 and VOC2012, is one data set;
* `yolo:` one text an image (`labels/`, `images/`, `data.yaml` or `classes.txt`).

An annotation belongs to the image of the same path, but for the extension and the
folders of `KINDS_OF_FOLDER`. Splits are lists of names (VOC), or folders or files
called as splits are; without any a tenth of the images is held out, by a hash of their
paths. What is wrong with the files: `box_files.DIRT`.

EXIF orientation. Boxes are in the pixels that the annotator saw. Where an annotation
says the image's size and that is the size as the file lies, it stays so; else the
picture is turned upright, as programs show it, whatever `--orient` says.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from tfssl.config import dataset_name
from tfssl.config.dataset_name import is_held_out, names_of, role, roles
from tfssl.config.remote import is_remote
from tfssl.data import box_files, upright
from tfssl.data.box_files import Annotation, Tally
from tfssl.data.decode import decode
from tfssl.data.files import Files
from tfssl.data.host_table import Numbers
from tfssl.data.mask_reading import heads
from tfssl.data.objects import Objects, OfImage
from tfssl.data.scan import EXTENSIONS
from tfssl.data.source import Reading, Source, SourceOptions
from tfssl.data.splits import Split, held_out_tenth, nothing_held_out
from tfssl.data.tree import path_hash
from tfssl.errors import DataError, message, printable, unknown

KINDS_OF_FOLDER = ("annotations", "jpegimages", "images", "image", "imgs", "img",
                   "labels", "xmls", "xml")  # fmt: skip
_NO_LABELS = ("classes.txt", "obj.names", "labels.txt", "readme.txt", "train.txt",
              "val.txt", "test.txt", "readme.roboflow.txt", "readme.dataset.txt",
              "notes.txt")  # fmt: skip
_HELD_OUT = "a tenth of the images, by a hash of their paths"


@dataclasses.dataclass(frozen=True)
class Listed:
    """The images of a data set, by format.

    Attributes:
      images: Paths below the root that have an annotation, sorted.
      annotations: Likewise, one an image.
      names: Of the classes where a file says them; else empty.
      held_out: Where held-out images come from, in words.
      pooled: There are no splits: a tenth is to be held out.
      notes: What was decided.
    """

    images: Sequence[str]
    annotations: Sequence[Annotation]
    names: tuple[str, ...]
    held_out: str
    pooled: bool
    notes: tuple[str, ...] = ()


def _below(root: str) -> list[str]:
    """Paths of all files below a folder, hidden ones left out, sorted."""
    found = []
    for folder, folders, files in os.walk(root, followlinks=True):
        folders[:] = sorted(f for f in folders if not f.startswith((".", "__MACOSX")))
        inside = os.path.relpath(folder, root)
        found += [os.path.join(inside, f) for f in files if not f.startswith(".")]
    return sorted(os.path.normpath(path) for path in found)


def _images(paths: Sequence[str]) -> list[str]:
    return [p for p in paths if os.path.splitext(p)[1].lower() in EXTENSIONS]


def _key(path: str) -> str:
    """What image and annotation have in common."""
    parts = os.path.splitext(path)[0].split(os.sep)
    kept = [part for part in parts[:-1] if part.lower() not in KINDS_OF_FOLDER]
    return "/".join([*kept, parts[-1]])


def _role_of(path: str) -> str:
    """The split that a folder of a path is named after: `"train"`, ...; or ""."""
    return next(filter(None, map(role, path.split("/")[:-1])), "")


def _paired(
    root: str, ending: str, read: Callable[[str, Tally], Annotation | None],
    split: str, tally: Tally, lists: bool,
) -> tuple[list[str], list[Annotation], str, bool]:  # fmt: skip
    """Images of a split with their annotations, of which each has a file of its own."""
    paths = _below(root)
    images: dict[str, str] = {}
    for path in _images(paths):
        if _key(path) in images:
            tally.add("twin_files", path)
        images.setdefault(_key(path), path)
    texts = {
        _key(path): path
        for path in paths
        if path.lower().endswith(ending)
        and os.path.basename(path).lower() not in _NO_LABELS
        and "ImageSets" not in path.split(os.sep)
    }
    wanted, held_out, pooled = _split(root, paths, {*images, *texts}, split, lists)
    found_images, found = [], []
    for key in sorted(wanted):
        if key not in images:
            tally.add("lone", texts.get(key, key))
        elif key not in texts:
            tally.add("bare", images[key])
        elif (annotation := read(os.path.join(root, texts[key]), tally)) is not None:
            found_images.append(images[key])
            found.append(annotation)
    return found_images, found, held_out, pooled


def _split(
    root: str, paths: Sequence[str], keys: set[str], split: str, lists: bool
) -> tuple[set[str], str, bool]:
    """The keys of a split; where held-out images come from; whether none is told."""
    if split == "all":
        return keys, "", True
    if lists:
        files = [p for p in paths if os.path.dirname(p).endswith("ImageSets/Main")]
        by_name: dict[str, list[str]] = {}
        for path in files:
            by_name.setdefault(os.path.splitext(os.path.basename(path))[0], []).append(
                path
            )
        for name in names_of(split):
            if name in by_name:
                wanted: set[str] = set()
                for path in by_name[name]:
                    base = os.path.normpath(
                        os.path.join(os.path.dirname(path), "../..")
                    )
                    with open(os.path.join(root, path), encoding="utf-8-sig") as file:
                        rows = [line.split() for line in file if line.strip()]
                    # A class's own list has a second column: -1 without the class.
                    wanted |= {_key(os.path.join(base, row[0] + ".x")) for row in rows}
                return wanted, f"ImageSets/Main/{name}.txt", False
        if by_name:
            raise DataError(unknown(f"split of {root}", split, by_name))
    own = {key: _role_of(key) for key in keys}
    there = set(own.values()) - {""}
    if not there:
        return keys, _HELD_OUT, True
    for one in roles(split):
        if one in there:
            return {k for k, r in own.items() if r == one}, f"the folder {one}", False
    named = {key for key in keys if split in key.split("/")[:-1]}
    if not named:
        raise DataError(unknown(f"split of {root}", split, there))
    return named, "", False


def list_voc(root: str, split: str, tally: Tally) -> Listed:
    """Lists Pascal VOC's layout; see the module."""
    found = _paired(root, ".xml", box_files.read_voc, split, tally, lists=True)
    return Listed(found[0], found[1], (), found[2], found[3])


def list_yolo(root: str, split: str, tally: Tally) -> Listed:
    """Lists YOLO's layout; see the module."""
    names, file = box_files.yolo_names(root)
    note = f"{len(names)} classes by {file}"
    if not names:
        note = f"no file of class names ({', '.join(box_files.YOLO_NAMES)}): numbers"

    def read(path: str, tally: Tally) -> Annotation | None:
        return box_files.read_yolo(path, names, tally)

    found = _paired(root, ".txt", read, split, tally, lists=False)
    return Listed(found[0], found[1], names, found[2], found[3], (note,))


def list_coco(root: str, split: str, tally: Tally) -> Listed:
    """Lists COCO's layout; `root` may be the JSON itself."""
    single = os.path.isfile(root)
    folder = os.path.dirname(root) if single else root
    paths = _below(folder)
    files = [os.path.basename(root)] if single else _of_instances(paths)
    own = {path: _json_role(path) for path in files}
    pooled = split == "all" or not any(own.values())
    chosen, held_out = files, _HELD_OUT if pooled and split != "all" else ""
    if not pooled:
        wanted = next((r for r in roles(split) if r in own.values()), None)
        chosen = [p for p, r in own.items() if r == wanted and wanted]
        chosen = chosen or [p for p in files if split in re.split(r"[/_.]", p)]
        held_out = ", ".join(chosen)
    if not chosen:
        known = sorted(filter(None, own.values())) or [f"{folder} without a .json"]
        raise DataError(unknown(f"split of coco:{root}", split, known))
    images: dict[str, Annotation] = {}
    names: list[str] = []
    there, taken = _images(paths), set()
    for path in chosen:
        content = box_files.read_coco(os.path.join(folder, path), tally)
        if content is None:
            continue
        names += [name for name in content.names if name not in names]
        where = _finder(there, path)
        for file, annotation in content.images.items():
            if not (image := where(file)):
                tally.add("lone", f"{file} in {path}")
            elif image in images:
                tally.add("twin_files", image)
            else:
                images[image] = annotation
        taken |= {os.path.dirname(image) for image in images}
    # Those beside what is listed: the folders of other splits are not its business.
    for path in there:
        if path not in images and os.path.dirname(path) in taken and not single:
            tally.add("bare", path)
    order = sorted(images)
    rows = [images[path] for path in order]
    return Listed(order, rows, tuple(names), held_out, pooled)


def _of_instances(paths: Sequence[str]) -> list[str]:
    found = [p for p in paths if p.lower().endswith(".json")]
    named = [p for p in found if "instances" in os.path.basename(p).lower()]
    return named or found


def _json_role(path: str) -> str:
    """The split of a JSON, by its name (`instances_val2017`) or its folder."""
    words = re.split(r"[_.\-]", os.path.splitext(os.path.basename(path))[0])
    own = [role(re.sub(r"\d+$", "", word)) for word in words]
    return next(filter(None, own), "") or _role_of(path.replace(os.sep, "/"))


def _finder(there: Sequence[str], json_path: str) -> Callable[[str], str]:
    """Function of a name in a JSON to the path of that image, or ""."""
    known = set(there)
    by_base: dict[str, list[str]] = {}
    for path in there:
        by_base.setdefault(os.path.basename(path), []).append(path)
    beside = os.path.dirname(json_path)
    word = os.path.splitext(os.path.basename(json_path))[0].split("_")[-1]
    bases = [beside, os.path.join(beside, "images"), word, os.path.join("images", word)]
    bases += ["images", ""]

    def find(file: str) -> str:
        file = os.path.normpath(file.replace("\\", "/")).lstrip("/")
        for base in bases:
            if (path := os.path.normpath(os.path.join(base, file))) in known:
                return path
        of_name = by_base.get(os.path.basename(file), [])
        return of_name[0] if len(of_name) == 1 else ""

    return find


FORMATS: Mapping[str, Callable[[str, str, Tally], Listed]] = {
    "coco": list_coco,
    "voc": list_voc,
    "yolo": list_yolo,
}


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
    if not names:
        there = {box.label for boxes in rows for box in boxes}
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
        labels = [place[box.label] for box in boxes]
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
