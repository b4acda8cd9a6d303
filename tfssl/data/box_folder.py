"""`coco:DIR`, `voc:DIR`, `yolo:DIR`: images with boxes in the three usual formats.

* `coco:` COCO's JSON beside a folder of images (`annotations/instances_SPLIT.json`, or
  `SPLIT/_annotations.coco.json`, or one JSON);
* `voc:` one XML an image (`Annotations/`, `JPEGImages/`, `ImageSets/Main/SPLIT.txt`); a
  folder of several such, as VOCdevkit is with VOC2007 and VOC2012, is one data set;
* `yolo:` one text an image (`labels/`, `images/`, `data.yaml` or `classes.txt`).

An annotation belongs to the image of the same path, but for the extension and the
words of `KINDS_OF_FOLDER` in folders' names; where no exact name fits, one that differs
by upper and lower case does. Splits are lists of names (VOC), or folders or files
called as splits are; without any a tenth of the images is held out, by a hash of their
paths. What is wrong with the files: `box_files.DIRT`.

EXIF orientation. Boxes are in the pixels that the annotator saw. Where an annotation
says the image's size and that is the size as the file lies, it stays so; else the
picture is turned upright, as programs show it, whatever `--orient` says.
"""

from __future__ import annotations

import dataclasses
import itertools
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
from tfssl.data.scan import EXTENSIONS, files_below, is_image
from tfssl.data.source import Reading, Source, SourceOptions
from tfssl.data.splits import Split, held_out_tenth, nothing_held_out
from tfssl.data.text_files import canonical, path_lines
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


def _images(paths: Sequence[str]) -> list[str]:
    return [p for p in paths if os.path.splitext(p)[1].lower() in EXTENSIONS]


def _plain(folder: str) -> str:
    """A folder's name without the words of `KINDS_OF_FOLDER`, if a split's is left."""
    words = re.split(r"[ _.-]+", folder.lower())
    rest = "_".join(word for word in words if word not in KINDS_OF_FOLDER)
    return rest if not rest or role(rest) else folder


def _key(path: str) -> str:
    """What image and annotation have in common."""
    *folders, name = canonical(os.path.splitext(path)[0]).split("/")
    return "/".join([*filter(None, map(_plain, folders)), name])


def _role_of(path: str) -> str:
    """The split that a folder of a path is named after: `"train"`, ...; or ""."""
    return next(filter(None, (role(_plain(f)) for f in path.split("/")[:-1])), "")


def _paired(
    root: str, ending: str, read: Callable[[str, Tally], Annotation | None],
    split: str, tally: Tally, lists: bool,
) -> tuple[list[str], list[Annotation], str, bool]:  # fmt: skip
    """Images of a split with their annotations, of which each has a file of its own."""
    paths = files_below(root)
    images: dict[str, str] = {}
    for path in _images(paths):
        if _key(path) in images:
            tally.add("twin_files", path)
        images.setdefault(_key(path), path)
    loose = {key.casefold(): key for key in images}
    texts: dict[str, str] = {}
    for path in paths:
        name, key = os.path.basename(path).lower(), _key(path)
        if not name.endswith(ending) or "ImageSets" in path.split("/"):
            continue
        if name in _NO_LABELS and key not in images:
            continue
        # An exact name counts before one that differs by upper and lower case.
        known = key if key in images else loose.get(key.casefold(), key)
        texts[key if known in texts else known] = path
    wanted, held_out, pooled = _split(root, paths, images, texts, split, lists, tally)
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
    root: str, paths: Sequence[str], images: Mapping[str, str],
    texts: Mapping[str, str], split: str, lists: bool, tally: Tally,
) -> tuple[set[str], str, bool]:  # fmt: skip
    """The keys of a split; where held-out images come from; whether none is told."""
    keys = {*images, *texts}
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
                listed = (_of_list(root, path, keys) for path in by_name[name])
                return set().union(*listed), f"ImageSets/Main/{name}.txt", False
        if by_name:
            raise DataError(unknown(f"split of {root}", split, by_name))
    own = {key: _role_of(key) for key in keys}
    there = set(own.values()) - {""}
    if not there:
        return keys, _HELD_OUT, True
    # Test images often come without annotations: then others are held out.
    full = {own[key] for key in images.keys() & texts.keys()} or there
    for one in roles(split):
        if one in full:
            for key in sorted(k for k in images.keys() & texts.keys() if not own[k]):
                tally.add("no_split", images[key])
            return {k for k, r in own.items() if r == one}, f"the folder {one}", False
    named = {key for key in keys if split in key.split("/")[:-1]}
    if not named:
        raise DataError(unknown(f"split of {root}", split, there))
    return named, "", False


def _of_list(root: str, path: str, keys: set[str]) -> set[str]:
    """The keys that a list of VOC's names: with or without extension, or blanks."""
    base = os.path.normpath(os.path.join(os.path.dirname(path), "../.."))
    wanted = set()
    with open(os.path.join(root, path), "rb") as file:
        lines = path_lines(file.read())
    for line in filter(None, map(str.strip, lines)):
        # A class's own list has a second column: -1 without the class.
        names = [line, line.split()[0]]
        names += [os.path.splitext(n)[0] for n in names if is_image(n)]
        own = [_key(os.path.normpath(os.path.join(base, f"{n}.x"))) for n in names]
        wanted.add(next((key for key in own if key in keys), own[1]))
    return wanted


def list_voc(root: str, split: str, tally: Tally) -> Listed:
    """Lists Pascal VOC's layout; see the module."""
    found = _paired(root, ".xml", box_files.read_voc, split, tally, lists=True)
    return Listed(found[0], found[1], (), found[2], found[3])


def list_yolo(root: str, split: str, tally: Tally) -> Listed:
    """Lists YOLO's layout; see the module."""
    known: dict[str, box_files.YoloNames] = {}

    def names_for(folder: str) -> box_files.YoloNames:
        """The root's names; else of the nearest folder above: labelImg's are there."""
        if folder not in known:
            found = box_files.yolo_names(os.path.join(root, folder))
            if not found.names and folder:
                found = names_for(os.path.dirname(folder))
            elif found.names:
                found = found._replace(file=os.path.join(folder, found.file))
            known[folder] = found
        return known[folder]

    of_root = names_for("")

    def read(path: str, tally: Tally) -> Annotation | None:
        folder = os.path.dirname(os.path.relpath(path, root))
        says = of_root if of_root.names else names_for(folder)
        return box_files.read_yolo(path, says.names, tally, points=says.points)

    found = _paired(root, ".txt", read, split, tally, lists=False)
    said = {says.file: says.names for says in known.values() if says.names}
    names = dict.fromkeys(name for own in said.values() for name in own if name)
    note = f"{len(names)} classes by {', '.join(sorted(said))}"
    if not names:
        note = f"no file of class names ({', '.join(box_files.YOLO_NAMES)}): numbers"
    return Listed(found[0], found[1], tuple(names), found[2], found[3], (note,))


def list_coco(root: str, split: str, tally: Tally) -> Listed:
    """Lists COCO's layout; `root` may be the JSON itself."""
    single = os.path.isfile(root)
    folder = os.path.dirname(root) if single else root
    paths = files_below(folder)
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
                tally.add("twin_rows", image)
                images[image] = _together(images[image], annotation)
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


def _together(first: Annotation, second: Annotation) -> Annotation:
    """The objects of two annotations of an image; equal ones once."""
    more = (box for box in second.boxes if box not in first.boxes)
    return Annotation((*first.boxes, *more), first.size or second.size)


def _of_instances(paths: Sequence[str]) -> list[str]:
    found = [p for p in paths if p.lower().endswith(".json")]
    named = [p for p in found if "instances" in os.path.basename(p).lower()]
    return named or found


def _json_role(path: str) -> str:
    """The split of a JSON, by its name (`instances_val2017`) or its folder."""
    words = re.split(r"[_.\-]", os.path.splitext(os.path.basename(path))[0])
    own = [role(re.sub(r"\d+$", "", word)) for word in words]
    return next(filter(None, own), "") or _role_of(path)


def _finder(there: Sequence[str], json_path: str) -> Callable[[str], str]:
    """Function of a name in a JSON to the path of that image, or ""."""
    known = {canonical(path): path for path in there}
    by_base: dict[str, list[str]] = {}
    for path in known:
        by_base.setdefault(os.path.basename(path).casefold(), []).append(path)
    beside = os.path.dirname(json_path)
    word = os.path.splitext(os.path.basename(json_path))[0].split("_")[-1]
    bases = [beside, os.path.join(beside, "images"), word, os.path.join("images", word)]
    bases += ["images", ""]
    own = _json_role(json_path)

    def find(file: str) -> str:
        file = os.path.normpath(canonical(file).replace("\\", "/")).lstrip("/")
        for base in bases:
            if (path := os.path.normpath(os.path.join(base, file))) in known:
                return known[path]
        # Written elsewhere: the image that has most of its path, unless it is one of
        # another split, where images may be called the same.
        parts = file.casefold().split("/")[::-1]
        near = [path for path in by_base.get(parts[0], ())
                if not own or _role_of(path) in ("", own)]  # fmt: skip
        alike = [_alike(parts, path.casefold().split("/")[::-1]) for path in near]
        best = [p for p, n in zip(near, alike, strict=True) if n == max(alike)]
        return known[best[0]] if len(best) == 1 else ""

    return find


def _alike(first: Sequence[str], second: Sequence[str]) -> int:
    """How many parts two paths have in common, from the first on."""
    pairs = zip(first, second, strict=False)
    return len([*itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)])


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
