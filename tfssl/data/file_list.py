r"""`list:FILE`: a text file that names images, one a line, with or without labels.

    # comments and empty lines are passed over
    cats/0001.jpg<TAB>cat
    n01440764/n01440764_10026.JPEG 0

What follows a tab, or a blank after an image's extension, is the label: a name or a
number. Paths are relative to FILE's own folder (or to `--data_dir`). Classes are
numbered in the order of their names; where all are numbers, in the order of numbers.

Splits. `list:lists/{split}.txt` reads `train.txt`, and `test.txt`, `validation.txt` or
`val.txt`; classes are those of all these files together. Without `{split}` a tenth is
held out as for `folder:`, and `all` is everything. Order and ids are those of a
folder: the hash of the path as it is written.
"""

from __future__ import annotations

import logging
import os
import re

import numpy as np
import tensorflow as tf

from tfssl.config import dataset_name
from tfssl.config.dataset_name import HELD_OUT, SPLIT, names_of
from tfssl.config.remote import is_remote
from tfssl.data.files import Files
from tfssl.data.header import MAX_PIXELS
from tfssl.data.scan import EXTENSIONS, is_image
from tfssl.data.source import SourceOptions
from tfssl.data.splits import Split, held_out_tenth
from tfssl.data.tree import path_hash
from tfssl.errors import DataError, message, unknown

_LOG = logging.getLogger(__name__)
_KINDS = "|".join(re.escape(extension) for extension in EXTENSIONS)
_LABELLED = re.compile(rf"(.*(?:{_KINDS}))[ \t]+(\S.*)", re.IGNORECASE)


class FileList(Files):
    """The images that a text file names; see the module for its grammar.

    Args:
      file: FILE, possibly with `{split}`.
      split: `train`, `test`, `validation`, or, without `{split}`, `all`.
      base: Folder of the relative paths; None: FILE's own.
      max_pixels: See `Encoded`.

    Raises:
      DataError: No such file or split, nothing in it, or two labels for one path.
    """

    def __init__(
        self,
        file: str,
        split: Split,
        *,
        base: str | None = None,
        max_pixels: int = MAX_PIXELS,
    ):
        chosen, others = _files(file, split.name)
        rows = read_list(chosen)
        texts = {text for _, text in rows.items() if text}
        for other in others:
            texts |= {text for text in read_list(other).values() if text}
        numeric = all(re.fullmatch(r"-?\d+", text) for text in texts)
        names = sorted(texts, key=int if numeric else None)
        numbers = {text: number for number, text in enumerate(names)}
        written = list(rows)
        hashes = np.array([path_hash(path) for path in written], np.int64)
        keep = _keep(hashes[:, 1], split.name, whole=SPLIT in file)
        order = np.lexsort((hashes[:, 1], hashes[:, 0]))
        order = order[keep[order]]
        start, stop = split.bounds(len(order))
        order = order[start:stop]
        folder = base or os.path.dirname(chosen)
        labels = [numbers[t] if (t := rows[written[i]]) else -1 for i in order]
        if len(names) < 2:
            names, labels = [], [-1] * len(labels)
        super().__init__(
            f"list:{file}/{split.text}",
            [os.fsencode(os.path.join(folder, written[i])) for i in order],
            hashes[order, 0],
            np.array(labels, np.int64),
            tuple(names),
            max_pixels,
        )


def read_list(file: str) -> dict[str, str]:
    """The paths that a list names, as written and in order, with "" or their label.

    A path that stands there twice counts once, and a warning says how many did.

    Raises:
      DataError: Nothing in it, or a path with two labels.
    """
    rows: dict[str, str] = {}
    repeated = 0
    with tf.io.gfile.GFile(file, "rb") as lines:
        text = os.fsdecode(lines.read())
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        path, tab, label = line.partition("\t")
        match = None if tab or is_image(line) else _LABELLED.fullmatch(line)
        if match:
            path, label = match.groups()
        path, label = path.strip(), label.strip()
        if rows.setdefault(path, label) != label:
            raise DataError(
                message(
                    f"{path} with the labels {rows[path]!r} and {label!r} in {file}, "
                    f"line {number}",
                    "one label for a path",
                    "removing one of the lines",
                )
            )
        repeated += 1
    repeated -= len(rows)
    if repeated:
        _LOG.warning("%s repeats %d paths; each counts once", file, repeated)
    if not rows:
        raise DataError(
            message(f"{file} without a path", "one image a line", "another list")
        )
    return rows


def _files(file: str, split: str) -> tuple[str, list[str]]:
    """The list to read, and the other splits' lists that classes come from too."""

    def there(names: tuple[str, ...]) -> list[str]:
        paths = [file.replace(SPLIT, name) for name in names]
        return [path for path in paths if tf.io.gfile.exists(path)]

    if not is_remote(file) and os.path.isdir(file):
        raise DataError(message(f"list:{file}, a folder", "a file", f"folder:{file}"))
    if SPLIT not in file:
        if not there(("",)):
            raise DataError(message(f"list:{file}", "a file", "an existing path"))
        return file, []
    found = there(names_of(split))
    if not found:
        wanted = ", ".join(file.replace(SPLIT, name) for name in names_of(split))
        raise DataError(
            message(
                f"list:{file} for split {split}", f"one of {wanted}", "another split"
            )
        )
    every = there(("train", *HELD_OUT["test"]))
    return found[0], [path for path in every if path != found[0]]


def _keep(second: np.ndarray, split: str, *, whole: bool) -> np.ndarray:
    """Bool `[n]`: which rows of a list belong to a split."""
    if whole or split == "all":
        return np.ones(len(second), bool)
    if split == "train":
        return ~held_out_tenth(second)
    if split in HELD_OUT:
        return held_out_tenth(second)
    raise DataError(unknown("split", split, ["train", "all", *HELD_OUT]))


def open_list(argument: str, split: Split, options: SourceOptions) -> FileList:
    """Opens `list:FILE`.

    Raises:
      DataError: See `FileList`.
    """
    if not argument:
        raise DataError(message("dataset=list:", "list:FILE", "dataset=list:my.txt"))
    return FileList(
        dataset_name.located(argument, None),
        split,
        base=dataset_name.located(options.data_dir, None) if options.data_dir else None,
        max_pixels=options.max_pixels,
    )
