"""Reads annotations of boxes: COCO JSON, Pascal VOC XML, YOLO text. No TensorFlow.

None of what people's files hold ends a run: each kind of `DIRT` is counted, and told
with an example of it.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

from tfssl.data.text_files import MOST, listed_names, text_of, yaml_names
from tfssl.errors import printable

PLAIN, DIFFICULT, CROWD = 0, 1, 2
_TRUE = ("1", "1.0", "true", "yes")

DIRT: Mapping[str, str] = {
    "unreadable": "annotations that cannot be read: their images are left out",
    "encoding": "annotations that are no UTF-8: read as Latin-1",
    "bare": "images without an annotation: left out",
    "lone": "annotations without an image: left out",
    "no_split": "images in no folder of a split: left out",
    "twin_files": "images of one name: the first of them counts",
    "twin_rows": "images listed twice: all their objects count, equal ones once",
    "twin_ids": "images with the id of another: the first counts",
    "twin_classes": "classes with the id of another: the first counts",
    "twin_objects": "objects with the id of another: both count",
    "no_image_row": "objects of images that the file does not list: left out",
    "foreign": "images of a kind that nothing here decodes, such as TIFF: left out",
    "broken_image": "images that cannot be read: left out",
    "size": "images of another size than their annotation says: left out",
    "no_size": "annotations that say no size: the file's is taken",
    "turned": "images lie turned by EXIF: they are turned as the annotator saw them",
    "columns": "lines with another number of columns: left out",
    "polygons": "polygons: the boxes around them count",
    "points": "boxes with key points, which are passed over",
    "swapped": "boxes whose corners stand in the other order: turned about",
    "not_numbers": "boxes that are not four finite numbers: left out",
    "no_area": "boxes without an area: left out",
    "outside": "boxes outside of their image: left out",
    "clipped": "boxes that leave their image: clipped",
    "unknown": "objects of a class without a name: left out",
    "no_name": "objects that name no class: left out",
}
"""Everything that can be wrong, in words, in the order in which it is told."""


class Tally:
    """Counts kinds of dirt, and remembers where each was met first.

    Args:
      kinds: Those that there are, in words.
    """

    def __init__(self, kinds: Mapping[str, str] = DIRT) -> None:
        self.counts: dict[str, int] = {}
        self._first: dict[str, str] = {}
        self._kinds = kinds

    def add(self, kind: str, where: str, count: int = 1) -> None:
        """Counts one of the kinds."""
        self.counts[kind] = self.counts.get(kind, 0) + count
        self._first.setdefault(kind, where)

    def notes(self) -> list[str]:
        """`"3 boxes without an area: left out, such as a.xml"`, one a kind."""
        return [
            f"{self.counts[kind]} {text}, such as {printable(self._first[kind])}"
            for kind, text in self._kinds.items()
            if kind in self.counts
        ]


@dataclasses.dataclass(frozen=True)
class Box:
    """One object as a file has it.

    Attributes:
      label: Name of its class.
      corners: y0, x0, y1, x1, in pixels, or as shares of the image.
      kind: `PLAIN`, `DIFFICULT` or `CROWD`.
      area: Of the object in pixels, None where only its box is known.
    """

    label: str
    corners: tuple[float, float, float, float]
    kind: int = PLAIN
    area: float | None = None


@dataclasses.dataclass(frozen=True)
class Annotation:
    """All objects of one image.

    Attributes:
      boxes: In the order of the file.
      size: Height and width that the file says the image has; None: it says none.
      relative: Corners are shares of the image's sides.
    """

    boxes: tuple[Box, ...]
    size: tuple[int, int] | None
    relative: bool = False


def _bytes(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _text(data: bytes, where: str, tally: Tally, declared: str = "") -> str:
    text, guessed = text_of(data, declared)
    if guessed:
        tally.add("encoding", where)
    return text


def read_voc(path: str, tally: Tally) -> Annotation | None:
    """Reads Pascal VOC's XML; None where that cannot be done.

    Its corners count pixels from 1 and the last one belongs to the box, so that x0 is
    `xmin - 1` and x1 is `xmax`.
    """
    try:
        root = _root(_bytes(path), path, tally)
    except (OSError, ElementTree.ParseError, ValueError):
        tally.add("unreadable", path)
        return None
    boxes = []
    for found in root.iter("object"):
        label = (found.findtext("name") or "").strip()
        names = ("ymin", "xmin", "ymax", "xmax")
        corners = _numbers([found.findtext(f"bndbox/{name}") for name in names])
        if not label or corners is None:
            tally.add("not_numbers" if label else "no_name", path)
            continue
        ends = corners[::2], corners[1::2]
        if any(first > last for first, last in ends):
            tally.add("swapped", path)
        (y0, y1), (x0, x1) = map(sorted, ends)
        # Some programs count from 0: a box at the border does not leave the image.
        y0, x0 = (value - 1 if value >= 1 else min(value, 0.0) for value in (y0, x0))
        y0, x0 = (0.0 if -1 <= value < 0 else value for value in (y0, x0))
        difficult = (found.findtext("difficult") or "").strip().lower()
        kind = DIFFICULT if difficult in _TRUE else PLAIN
        boxes.append(Box(label, (y0, x0, y1, x1), kind))
    size = _numbers([root.findtext(f"size/{name}") for name in ("height", "width")])
    return Annotation(tuple(boxes), _whole(size, path, tally))


def _root(data: bytes, where: str, tally: Tally) -> ElementTree.Element:
    """Parses an annotation; its tags without name space, in lower case.

    Raises:
      ParseError, ValueError: It is none.
    """
    declared = re.match(rb"\s*<\?xml[^>]*encoding=[\"']([\w.-]+)", data)
    text = _text(data, where, tally, declared[1].decode() if declared else "")
    if "<!ENTITY" in text:
        raise ValueError("entities, which may grow without end, or lead elsewhere")
    # The encoding that a file declares is not always the one that it has.
    root = ElementTree.fromstring(re.sub(r"^\s*<\?xml[^>]*\?>", "", text).strip())
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2].lower()
    if root.tag != "annotation" and root.find(".//object") is None:
        raise ValueError("another kind of XML")
    return root


def _whole(
    size: Sequence[float] | None, where: str, tally: Tally
) -> tuple[int, int] | None:
    if size is None or min(size) < 1:
        tally.add("no_size", where)
        return None
    return int(size[0]), int(size[1])


def _numbers(texts: Sequence[Any]) -> list[float] | None:
    """Finite numbers, also with a decimal comma; or None."""
    texts = [t.replace(",", ".") if isinstance(t, str) else t for t in texts]
    try:
        found = [float(text) for text in texts]
    except (TypeError, ValueError, OverflowError):
        return None
    return found if all(map(math.isfinite, found)) else None


def read_yolo(
    path: str, names: Sequence[str], tally: Tally, *, points: bool = False
) -> Annotation | None:
    """Reads YOLO's text: `class cx cy w h` a line, shares of the image's sides.

    `class x0 y0 x1 y1 x2 y2 ...` is a polygon, whose box is taken.

    Args:
      path: The file; an empty one is an image without objects.
      names: Of the classes; empty: they are called by their numbers.
      tally: Counts what is wrong.
      points: Key points stand behind the box, which are passed over.
    """
    try:
        text = _text(_bytes(path), path, tally)
    except OSError:
        tally.add("unreadable", path)
        return None
    if "\0" in text:
        tally.add("unreadable", path)
        return None
    boxes = []
    for line in filter(str.strip, text.splitlines()):
        words = _words(line)
        if points and len(words) > 5:
            tally.add("points", path)
            words = words[:5]
        polygon = len(words) >= 7 and len(words) % 2 == 1
        if len(words) != 5 and not polygon:
            tally.add("columns", path)
            continue
        found = _numbers(words)
        if found is None:
            tally.add("not_numbers", path)
            continue
        label = _called(found[0], names)
        if not label:
            tally.add("unknown", path)
            continue
        if polygon:
            tally.add("polygons", path)
            xs, ys = found[1::2], found[2::2]
            corners = (min(ys), min(xs), max(ys), max(xs))
        else:
            _, x, y, w, h = found
            corners = (y - h / 2, x - w / 2, y + h / 2, x + w / 2)
        boxes.append(Box(label, corners))
    return Annotation(tuple(boxes), None, relative=True)


def _words(line: str) -> list[str]:
    """The columns of a line; commas separate them, or are those of decimals."""
    words = [word.strip(",") for word in re.split(r"[;\s]+", line.strip())]
    return words if len(words) >= 5 else re.split(r"[,\s]+", line.strip())


def _called(number: float, names: Sequence[str]) -> str:
    """The name of a class; "" where there is none."""
    if number != int(number) or not 0 <= number < MOST:
        return ""
    if not names:
        return f"class {int(number)}"
    return names[int(number)] if number < len(names) else ""


YOLO_NAMES = ("data.yaml", "data.yml", "dataset.yaml", "classes.txt", "obj.names",
              "labels.txt")  # fmt: skip
"""Files that name YOLO's classes, the first that is there counts; behind them any other
`.yaml` and `.names`."""


class YoloNames(NamedTuple):
    """Names of YOLO's classes.

    Attributes:
      names: By number; "" for one without a name; () where no file says them.
      file: That says them, or "".
      points: It says that boxes have key points behind them.
    """

    names: tuple[str, ...]
    file: str
    points: bool


def yolo_names(folder: str) -> YoloNames:
    """Names of a folder's classes."""
    there = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    others = [n for n in there if n.lower().endswith((".yaml", ".yml", ".names"))]
    for file in dict.fromkeys([*YOLO_NAMES, *others]):
        path = os.path.join(folder, file)
        if os.path.isfile(path):
            text, _ = text_of(_bytes(path))
            yaml = file.lower().endswith(("yaml", "yml"))
            found = yaml_names(text) if yaml else listed_names(text.splitlines())
            if any(found):
                points = yaml and bool(re.search(r"^kpt_shape\s*:", text, re.M))
                return YoloNames(found, file, points)
    return YoloNames((), "", False)


@dataclasses.dataclass(frozen=True)
class CocoFile:
    """A COCO JSON.

    Attributes:
      names: Of the classes, in the order of their ids.
      images: File name, as it stands there, to its annotation.
    """

    names: tuple[str, ...]
    images: dict[str, Annotation]


@dataclasses.dataclass(frozen=True)
class CocoRows:
    """What every JSON of COCO's has, as it stands there.

    Attributes:
      images: Rows of images by their id, in order; each has a `file_name`.
      annotations: Anything.
      named: Names of classes by id.
    """

    images: dict[Hashable, dict[str, Any]]
    annotations: list[Any]
    named: dict[Any, str]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the classes, in the order of their ids."""
        order = sorted(self.named, key=lambda n: (isinstance(n, str), n))
        return tuple(dict.fromkeys(self.named[n] for n in order))


def coco_rows(path: str, tally: Tally) -> CocoRows | None:
    """Reads a JSON of COCO's; None where that cannot be done."""
    try:
        content = json.loads(_text(_bytes(path), path, tally))
        images, rows = content["images"], content["annotations"]
        categories = content.get("categories") or []
        if not all(isinstance(part, list) for part in (images, rows, categories)):
            raise ValueError(path)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        tally.add("unreadable", path)
        return None
    by_id: dict[Hashable, dict[str, Any]] = {}
    for row in images:
        file = row.get("file_name") if isinstance(row, dict) else None
        number = coco_id(row.get("id")) if isinstance(row, dict) else None
        if not isinstance(file, str) or number is None:
            tally.add("unreadable", path)
        elif number in by_id:
            tally.add("twin_ids", f"{file} in {path}")
        else:
            by_id[number] = row
    return CocoRows(by_id, rows, _categories(categories, path, tally))


def read_coco(path: str, tally: Tally) -> CocoFile | None:
    """Reads COCO's JSON of instances; None where that cannot be done."""
    content = coco_rows(path, tally)
    if content is None:
        return None
    files: dict[Hashable, str] = {}
    twins: set[Hashable] = set()
    sizes: dict[str, tuple[int, int] | None] = {}
    for number, row in content.images.items():
        file = files[number] = row["file_name"]
        size = _numbers([row.get("height"), row.get("width")])
        if file in sizes:
            tally.add("twin_rows", f"{file} in {path}")
            twins.add(number)
        else:
            sizes[file] = _whole(size, f"{file} in {path}", tally)
    boxes: dict[str, list[Box]] = {file: [] for file in sizes}
    seen: set[Hashable] = set()
    for row in content.annotations:
        if not isinstance(row, dict):
            tally.add("not_numbers", path)
            continue
        number, of = coco_id(row.get("id")), coco_id(row.get("image_id"))
        if number is not None and number in seen:
            tally.add("twin_objects", f"id {number} in {path}")
        seen.add(number)
        if of is None or of not in files:
            tally.add("no_image_row", f"image_id {row.get('image_id')} in {path}")
            continue
        file = files[of]
        box = _coco_box(row, f"{file} in {path}", content.named, tally)
        if box is not None and not (of in twins and box in boxes[file]):
            boxes[file].append(box)
    found = {f: Annotation(tuple(boxes[f]), size) for f, size in sizes.items()}
    return CocoFile(content.names, found)


def coco_id(value: Any) -> Hashable:
    """What identifies a row: `1`, `1.0` and `"1"` are one; None for what cannot."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str) and re.fullmatch(r"-?(0|[1-9]\d{0,17})", value, re.A):
        value = int(value)
    return value if isinstance(value, int | str) else None


def _categories(rows: Sequence[Any], path: str, tally: Tally) -> dict[Any, str]:
    """Names of classes by id."""
    named: dict[Any, str] = {}
    for row in rows:
        number = coco_id(row.get("id")) if isinstance(row, dict) else None
        name = row.get("name") if isinstance(row, dict) else None
        name = str(name).strip() if isinstance(name, str | int | float) else ""
        if number is None or not name:
            continue  # its objects are counted
        if named.setdefault(number, name) != name:
            tally.add("twin_classes", f"{name} in {path}")
    return named


def _coco_box(
    row: Mapping[str, Any], where: str, named: Mapping[Any, str], tally: Tally
) -> Box | None:
    """The object of a row of `annotations`; None where it is none."""
    category = coco_id(row.get("category_id"))
    if category is None or category not in named:
        tally.add("unknown", where)
        return None
    box = row.get("bbox")
    found = _numbers(box) if isinstance(box, list) and len(box) == 4 else None
    if found is None:
        tally.add("not_numbers", where)
        return None
    x, y, w, h = found
    area = _numbers([row.get("area")])
    kind = CROWD if str(row.get("iscrowd")).lower() in _TRUE else PLAIN
    corners = (y, x, y + h, x + w)
    return Box(named[category], corners, kind, area[0] if area else None)


def within(
    found: Annotation, size: tuple[int, int], where: str, tally: Tally
) -> list[Box]:
    """The boxes in pixels of the image, clipped to it; what is none is left out.

    Args:
      found: As the file has it.
      size: Height and width of the image as the annotator saw it.
      where: For the tally.
      tally: Counts what is wrong.
    """
    height, width = size
    kept = []
    for box in found.boxes:
        y0, x0, y1, x1 = box.corners
        if found.relative:
            y0, x0, y1, x1 = y0 * height, x0 * width, y1 * height, x1 * width
        if y1 <= y0 or x1 <= x0:
            tally.add("no_area", where)
            continue
        top, left = max(y0, 0.0), max(x0, 0.0)
        bottom, right = min(y1, float(height)), min(x1, float(width))
        if bottom <= top or right <= left:
            tally.add("outside", where)
            continue
        # Shares have five digits or so: less than half a pixel is no mistake.
        if max(top - y0, left - x0, y1 - bottom, x1 - right) > 0.5:
            tally.add("clipped", where)
        kept.append(dataclasses.replace(box, corners=(top, left, bottom, right)))
    return kept
