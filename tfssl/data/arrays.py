"""`arrays:FILE`: images as arrays, in a .npz, .npy or HDF5 file, or a folder of .npy.

Which array is what, its name says: `images`, `x` or `data` are images, `labels`, `y` or
`targets` their labels, `class_names` the names of the classes; with a split before or
behind it, as in `x_train`, `test_labels` or `train/images`. Where no name has a split,
a tenth is held out, as of a `list:`, and `all` is everything; `{split}` in FILE stands
for the split's name.

Images are uint8 `[n, h, w]`, or `[n, h, w, c]` of 1 (grey), 3 or 4 channels, the fourth
of which is dropped. Labels are whole numbers or texts `[n]`, numbered in the order of
the training split's, -1 for none; or 0 and 1 `[n, classes]`: several labels an image
(`Source.several`), or one where each row of the training split has just one.
"""

from __future__ import annotations

import dataclasses
import os
import re
from typing import Any

import numpy as np
import tensorflow as tf

from tfssl.config import dataset_name
from tfssl.config.dataset_name import SPELLINGS, SPLIT, names_of, role, roles
from tfssl.core.python_calls import python_call
from tfssl.data.array_files import Stored, stored_arrays
from tfssl.data.classes import renumbered
from tfssl.data.host_table import Numbers
from tfssl.data.source import (
    NO_LABEL,
    Described,
    Reading,
    Several,
    SkipList,
    SourceOptions,
)
from tfssl.data.splits import Split, held_out_tenth, mixed
from tfssl.data.text_files import canonical
from tfssl.errors import DataError, message, printable, unknown

_WORDS = {
    "class_names": ("class_names", "label_names", "target_names"),
    "labels": ("labels", "label", "y", "targets", "target"),
    "images": ("images", "image", "x", "data", "imgs"),
}
"""What an array is, by a word of its name; the first that is there counts."""

_CHANNELS = {1: "grey, shown as RGB", 3: "RGB", 4: "RGB, the fourth channel dropped"}


@dataclasses.dataclass(frozen=True)
class _Named:
    """An array, and what its name says: `kind` of `_WORDS` or "", split, rank."""

    name: str
    kind: str
    split: str
    rank: int
    array: Stored


class Arrays(Described):
    """Images of one size in an array, read row by row.

    `id` is the row, plus 2**40 for each split before its own in alphabetical order.

    Args:
      file: FILE, possibly with `{split}`.
      split: `train`, `test`, another name that the arrays have, or `all` where they
        have none; possibly sliced.
      max_pixels: Most pixels of an image; 0: any number.

    Raises:
      DataError: No such file or split, arrays that do not fit together, or values that
        are no images or labels.
    """

    may_fail = True  # a disk may
    _one = ""

    def __init__(self, file: str, split: Split, *, max_pixels: int = 0):
        self.name = f"arrays:{file}/{split.text}"
        self._skips = SkipList()
        chosen, training = _files(file, split.name)
        found = _understood(chosen)
        splits = sorted({each.split for each in found if each.kind == "images"})
        if not splits:
            raise DataError(_no_images(file, found))
        own = _split(file, splits, split.name) if splits != [""] else ""
        images = _one(found, "images", own)
        self._file, self._key = chosen, images.name
        count, shape = _checked_images(images.array, max_pixels)
        self._images = images.array.load()
        rows = np.arange(count, dtype=np.int64)
        whole = splits == [""] and SPLIT not in file
        if whole and split.name != "all":
            held = held_out_tenth(mixed(rows, 0))
            rows = rows[_wanted(file, split.name, held)]
        start, stop = split.bounds(len(rows))
        self._rows = rows[start:stop]
        self.num_examples = len(self._rows)
        named = SPLIT in file and role(split.name) in SPELLINGS
        part = [*SPELLINGS].index(role(split.name)) if named else splits.index(own)
        self.ids = self._rows + 2**40 * part
        elsewhere = _understood(training) if training != chosen else found
        first = next((s for s in splits if role(s) == "train"), splits[0])
        known = _labels(elsewhere, first if training == chosen else "")
        self._label(found, own, known, count)
        left = [
            printable(each.name)
            for each in found
            if not each.kind or each.split not in ("", *splits)
        ]
        notes = [f"uint8 {[count, *shape]}, {_CHANNELS[(*shape, 1)[2]]}"]
        notes += [f"not used: {', '.join(left)}"] if left else []
        notes += [self._one] if self._one else []
        self.reading = Reading(
            held_out="a tenth of the rows, by a hash of their numbers" if whole else "",
            notes=tuple(notes),
        )
        self._label_table, self._id_table = Numbers(self.labels), Numbers(self.ids)

    def _label(self, found: list[_Named], split: str, known: Any, count: int) -> None:
        """Sets labels and classes.

        Args:
          found: All arrays of the file.
          split: The one to label.
          known: Labels of the training split, or None.
          count: Images of the split.
        """
        self.labels = np.full(self.num_examples, -1, np.int64)
        self.num_classes, self.class_names = None, ()
        own = _labels(found, split)
        if own is None:
            return
        if len(own) != count:
            raise DataError(
                message(
                    f"{len(own)} labels for {count} images in {self.name}",
                    "one label an image",
                    "arrays of the same length",
                )
            )
        own, known = own[self._rows], own if known is None else known
        if (own.ndim, own.dtype.kind) != (known.ndim, known.dtype.kind):
            raise DataError(
                message(
                    f"labels {own.dtype} {list(own.shape)} in {self.name} and "
                    f"{known.dtype} {list(known.shape)} of the training split",
                    "labels of one kind",
                    "numbers in both, or texts in both",
                )
            )
        names = _names(found, split)
        if own.ndim == 2:
            self._several(own, known, names)
            return
        text = known.dtype.kind == "U"
        classes = np.unique(known)
        classes = classes[classes != ("" if text else -1)]
        if names and not text:
            if len(classes) and classes[-1] >= len(names):
                raise DataError(
                    message(
                        f"label {classes[-1]} with {len(names)} class_names",
                        f"labels from 0 to {len(names) - 1}",
                        "a name for every class",
                    )
                )
            classes = np.arange(len(names))
        if len(classes) < 2:
            self._one = f"labels of {len(classes)} class, which tell nothing: none"
            return
        named = names if names and not text else ()

        def spelled(value: object) -> str:
            inside = named and 0 <= int(value) < len(named)
            return named[int(value)] if inside else str(value)

        self.class_names = tuple(map(spelled, classes.tolist()))
        self.num_classes = len(classes)
        values, place = np.unique(own, return_inverse=True)
        place = np.where(own == ("" if text else NO_LABEL), NO_LABEL, place)
        self.labels, self.unknown_classes = renumbered(
            place, [*map(spelled, values.tolist())], self.class_names
        )

    def _several(self, own: np.ndarray, known: np.ndarray, names: tuple) -> None:
        classes = own.shape[1]
        names = names or tuple(map(str, range(classes)))
        if known.shape[1] != classes or len(names) != classes:
            raise DataError(
                message(
                    f"labels of {classes} classes, {len(names)} class_names and "
                    f"training labels {list(known.shape)} in {self.name}",
                    "the same classes everywhere",
                    "one column a class in each split",
                )
            )
        if (known.sum(axis=1) == 1).all():
            if (own.sum(axis=1) > 1).any():
                raise DataError(
                    message(
                        f"rows of {self.name} with several labels, though no training "
                        "image has more or less than one",
                        "one label everywhere, or several",
                        "labels [n] of the class numbers",
                    )
                )
            self.labels = np.where(own.any(axis=1), own.argmax(axis=1), -1)
            self.num_classes, self.class_names = classes, names
        else:
            self.several = Several(own.astype(np.int8), names)

    def example(self, index: tf.Tensor) -> dict[str, tf.Tensor]:
        """See `Source.example`."""
        image = python_call(self._read, [index], tf.uint8, stateful=False)
        return {
            "image": tf.ensure_shape(image, [None, None, 3]),
            "label": self._label_table(index),
            "id": self._id_table(index),
        }

    def _read(self, index: int) -> np.ndarray:
        image = np.asarray(self._images[int(self._rows[int(index)])])
        image = image[..., None] if image.ndim == 2 else image
        if image.shape[2] == 1:
            image = np.repeat(image, 3, axis=2)
        return np.ascontiguousarray(image[..., :3])

    def content(self, index: int) -> bytes:
        """See `Source.content`."""
        return self._read(index).tobytes()

    def where(self, index: int) -> str:
        """The file, the array and the row."""
        return f"{self._file}: {self._key}[{self._rows[int(index)]}]"

    def failed(self, index: int) -> str:
        """See `Source.failed`."""
        try:
            self._read(index)
            reason = "readable now; it was not when it was asked for"
        except Exception as error:  # whatever a library finds in a damaged file
            reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        return self._skips.add(self.where(index), reason)

    def skipped(self) -> list[dict[str, str]]:
        """See `Source.skipped`."""
        return self._skips.listing()


def _files(file: str, split: str) -> tuple[str, str]:
    """The file to read, and the training split's, which names the classes."""
    if SPLIT not in file:
        return file, file

    def there(name: str) -> str:
        paths = [file.replace(SPLIT, spelled) for spelled in names_of(name)]
        return next(filter(os.path.exists, paths), paths[0])

    training = there("train")
    chosen = there(split)
    return chosen, training if os.path.exists(training) else chosen


def _understood(file: str) -> list[_Named]:
    found = []
    for name, array in stored_arrays(file).items():
        text = "_".join(filter(None, re.split(r"[/.\s-]+", name.lower())))
        kind, rank, rest = "", 0, text
        for candidate, words in _WORDS.items():
            for number, word in enumerate(words):
                cut = re.fullmatch(rf"(?:(.*)_)?{word}(?:_(.*))?", text)
                if cut and not kind:
                    kind, rank = candidate, number
                    parts = "_".join(filter(None, cut.groups())).split("_")
                    rest = "_".join(p for p in parts if p not in _WORDS["images"])
        found.append(_Named(name, kind, rest, rank, array))
    return found


def _split(file: str, splits: list[str], asked: str) -> str:
    """The split of the arrays' names that a name asks for."""
    for wanted in (asked.lower(), *roles(asked)):
        for name in splits:
            # One without a split, beside one that has, is trained on.
            if name == wanted or role(name or "train") == wanted:
                return name
    raise DataError(unknown(f"split of arrays:{file}", asked, splits))


def _wanted(file: str, split: str, held: np.ndarray) -> np.ndarray:
    if not roles(split):
        raise DataError(
            unknown(f"split of arrays:{file}", split, ["all", "train", "test"])
        )
    return ~held if role(split) == "train" else held


def _one(found: list[_Named], kind: str, split: str) -> _Named:
    fitting = [each for each in found if each.kind == kind and each.split == split]
    return min(fitting, key=lambda each: each.rank)


def _no_images(file: str, found: list[_Named]) -> str:
    names = ", ".join(printable(each.name) for each in found[:12])
    return message(
        f"arrays:{file} with {names}",
        "an array named images, x or data, perhaps with a split as in x_train",
        "numpy.savez(FILE, images=..., labels=...)",
    )


def _checked_images(array: Stored, max_pixels: int) -> tuple[int, tuple[int, ...]]:
    """Number and shape of the images."""
    shape, wrong = array.shape, ""
    count, *size = shape or (0,)
    if array.dtype != np.uint8:
        wrong = f"{array.dtype}"
        hint = "x.astype('uint8') of numbers x from 0 to 255"
        if array.dtype.kind in "bf":
            hint = "numpy.round(255 * x).astype('uint8') of numbers x from 0 to 1"
    elif len(shape) not in (3, 4) or 0 in shape:
        wrong, hint = f"shape {list(shape)}", "one row an image"
    elif len(shape) == 4 and shape[3] not in _CHANNELS:
        wrong = f"shape {list(shape)}"
        first = shape[1] in _CHANNELS
        hint = "x.transpose(0, 2, 3, 1)" if first else "images of 1, 3 or 4 channels"
    elif max_pixels and size[0] * size[1] > max_pixels:
        wrong = f"images of {size[0]} x {size[1]} pixels"
        hint = f"smaller ones, or max_image_pixels={size[0] * size[1]}"
    if wrong:
        expected = "uint8 [n, h, w] or [n, h, w, channels]"
        raise DataError(message(f"{array.where}: {wrong}", expected, hint))
    return count, tuple(size)


def _labels(found: list[_Named], split: str) -> np.ndarray | None:
    """Labels of a split: int64 or text `[n]`, or bool `[n, classes]`; None for none."""
    if not any(e.kind == "labels" and e.split == split for e in found):
        return None
    array = _one(found, "labels", split).array
    values = array.read()
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8", "replace")
    numeric = values.dtype.kind in "biuf"
    if values.ndim == 2 and numeric and np.isin(values, (0, 1)).all():
        return values.astype(bool)
    if values.ndim == 1 and values.dtype.kind == "U":
        return np.array([canonical(text.strip()) for text in values.tolist()], np.str_)
    whole = numeric and np.isfinite(values).all() and (values == np.floor(values)).all()
    whole = whole and (not values.size or values.max() < 2**53)
    if values.ndim != 1 or not whole or (values.size and values.min() < -1):
        low = f", from {values.min()}" if numeric and values.size else ""
        raise DataError(
            message(
                f"{array.where}: {values.dtype} {list(values.shape)}{low}",
                "whole numbers from 0 (-1: none) or texts [n], or 0 and 1 [n, classes]",
                "one label an image",
            )
        )
    return values.astype(np.int64)


def _names(found: list[_Named], split: str) -> tuple[str, ...]:
    for each in found:
        if each.kind == "class_names" and each.split in ("", split):
            values = each.array.read()
            if values.dtype.kind == "S":
                values = np.char.decode(values, "utf-8", "replace")
            texts = map(str, values.tolist()) if values.ndim == 1 else ()
            names = tuple(map(canonical, texts))
            if values.dtype.kind != "U" or len(set(names)) < len(names) or not names:
                raise DataError(
                    message(
                        f"{each.array.where}: {values.dtype} {list(values.shape)}",
                        "a text a class, each once",
                        "numpy.array(['cat', 'dog'])",
                    )
                )
            return names
    return ()


def open_arrays(argument: str, split: Split, options: SourceOptions) -> Arrays:
    """Opens `arrays:FILE`; `data_dir` is where a relative FILE is.

    Raises:
      DataError: See `Arrays`.
    """
    if not argument:
        raise DataError(message("dataset=arrays:", "arrays:FILE", "arrays:my.npz"))
    path = dataset_name.located(argument, options.data_dir)
    return Arrays(path, split, max_pixels=options.max_pixels)
