"""Which annotation belongs to which image, in the three formats of boxes.

* `coco:` COCO's JSON beside a folder of images (`annotations/instances_SPLIT.json`, or
  `SPLIT/_annotations.coco.json`, or one JSON);
* `voc:` one XML an image (`Annotations/`, `JPEGImages/`, `ImageSets/Main/SPLIT.txt`); a
  folder of several such, as VOCdevkit is with VOC2007 and VOC2012, is one data set;
* `yolo:` one text an image (`labels/`, `images/`, `data.yaml` or `classes.txt`).

An annotation belongs to the image of the same path, but for the extension and the
words of `KINDS_OF_FOLDER` in folders' names; where no exact name fits, one that differs
by upper and lower case does. Splits are lists of names (VOC), or folders or files
called as splits are; without any a tenth of the images is held out, by a hash of their
paths.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import re
from collections.abc import Callable, Mapping, Sequence

from tfssl.config.dataset_name import is_own_name, names_of, role, roles
from tfssl.data import box_files
from tfssl.data.box_files import Annotation, Tally
from tfssl.data.scan import FOREIGN, files_below, is_image
from tfssl.data.text_files import canonical, path_lines
from tfssl.errors import DataError, unknown

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


def _images(paths: Sequence[str], tally: Tally) -> list[str]:
    for path in paths:
        if os.path.splitext(path)[1].lower() in FOREIGN:
            tally.add("foreign", path)
    return list(filter(is_image, paths))


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
    for path in _images(paths, tally):
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
    named = {key for key in keys if split in key.split("/")[:-1]}
    for one in () if named and is_own_name(split) else roles(split):
        if one in full:
            for key in sorted(k for k in images.keys() & texts.keys() if not own[k]):
                tally.add("no_split", images[key])
            return {k for k, r in own.items() if r == one}, f"the folder {one}", False
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
    own = {path: json_role(path) for path in files}
    pooled = split == "all" or not any(own.values())
    chosen, held_out = files, _HELD_OUT if pooled and split != "all" else ""
    if not pooled:
        wanted = next((r for r in roles(split) if r in own.values()), None)
        named = [p for p in files if split in re.split(r"[/_.]", p)]
        chosen = [p for p, r in own.items() if r == wanted and wanted]
        chosen = named if named and is_own_name(split) else chosen or named
        held_out = ", ".join(chosen)
    if not chosen:
        known = [r or os.path.splitext(os.path.basename(p))[0] for p, r in own.items()]
        known = known or [f"{folder} without a .json"]
        raise DataError(unknown(f"split of coco:{root}", split, known))
    images: dict[str, Annotation] = {}
    names: list[str] = []
    there, taken = _images(paths, tally), set()
    for path in chosen:
        content = box_files.read_coco(os.path.join(folder, path), tally)
        if content is None:
            continue
        names += [name for name in content.names if name not in names]
        where = image_finder(there, path)
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


def json_role(path: str) -> str:
    """The split of a JSON, by its name (`instances_val2017`) or its folder."""
    words = re.split(r"[_.\-]", os.path.splitext(os.path.basename(path))[0])
    own = [role(re.sub(r"\d+$", "", word)) for word in words]
    return next(filter(None, own), "") or _role_of(path)


def image_finder(there: Sequence[str], json_path: str) -> Callable[[str], str]:
    """Function of a name in a JSON to the path of that image, or ""."""
    known = {canonical(path): path for path in there}
    by_base: dict[str, list[str]] = {}
    for path in known:
        by_base.setdefault(os.path.basename(path).casefold(), []).append(path)
    beside = os.path.dirname(json_path)
    word = os.path.splitext(os.path.basename(json_path))[0].split("_")[-1]
    bases = [beside, os.path.join(beside, "images"), word, os.path.join("images", word)]
    bases += ["images", ""]
    own = json_role(json_path)

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
