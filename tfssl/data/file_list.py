r"""`list:FILE`: a text file that names images, one a line, with or without labels.

    # comments and empty lines are passed over
    cats/0001.jpg<TAB>cat
    n01440764/n01440764_10026.JPEG 0
    "with, comma.png",dog

What follows a tab, a comma, a semicolon or a blank after an image's extension is the
label: a name or a number. Quotes around either are taken off, doubled ones inside are
one; a third column is refused. A first line such as `path,label` is a heading. The text
is UTF-8, UTF-16 or UTF-32, with or without a byte order mark; names that are not UTF-8
are taken as the bytes that they are. Paths are relative to FILE's own folder (or to
`--data_dir`); in one with `\` and no `/` that is a separator, as Windows writes. Where
none of the files is there, the list is refused. Classes are numbered in the order of
their names; where all are numbers, in the order of numbers. Lines without a label are
unlabelled.

Splits. `list:lists/{split}.txt` reads `train.txt`, and `test.txt`, `validation.txt` or
`val.txt`; classes are those of the training list, and images of any other class are
named, counted and not scored. Without `{split}` a tenth is held out as for `folder:`,
and `all` is everything. Order and ids are those of a folder: the hash of the path as it
is written.
"""

from __future__ import annotations

import logging
import os
import re
import stat

import numpy as np
import tensorflow as tf

from tfssl.config import dataset_name
from tfssl.config.dataset_name import SPELLINGS, SPLIT, is_held_out, names_of, role
from tfssl.config.remote import is_remote
from tfssl.data.files import Files
from tfssl.data.formats import MAX_PIXELS
from tfssl.data.scan import EXTENSIONS, is_image
from tfssl.data.source import Reading, SourceOptions, first_line
from tfssl.data.splits import Split, held_out_tenth, nothing_held_out
from tfssl.data.text_files import canonical, encoding_of, path_lines
from tfssl.data.tree import path_hash
from tfssl.errors import DataError, message, printable, unknown

_LOG = logging.getLogger(__name__)
_KINDS = "|".join(re.escape(extension) for extension in EXTENSIONS)
# A path up to its extension, maybe in quotes, then a separator and the label.
_LABELLED = re.compile(
    rf"""(?P<quote>["']?)(?P<path>.*?(?:{_KINDS}))(?P=quote)
    (?:\s*(?P<mark>[\t,;])\s*|[ ]+)(?P<label>\S.*)?""",
    re.IGNORECASE | re.VERBOSE,
)
_HEADING = re.compile(
    r"\W*(path|file|files|image|images|filename|file_?name|image_?path|img|id)\b.*",
    re.I,
)
LOOKED = 200_000
"""So many files of a list are looked for at its opening."""
_GRAMMAR = "PATH, or PATH and a label behind a tab, comma, semicolon or blank"


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
        chosen, training = _files(file, split.name)
        rows = read_list(chosen)
        known = read_list(training) if training else rows
        texts = {text for text in known.values() if text}
        numeric = all(re.fullmatch(r"-?\d+", text) for text in texts)
        names = sorted(texts, key=int if numeric else None)
        written = list(rows)
        hashes = np.array([path_hash(path) for path in written], np.int64)
        keep = _keep(hashes[:, 1], split.name, whole=SPLIT in file)
        order = np.lexsort((hashes[:, 1], hashes[:, 0]))
        order = order[keep[order]]
        if not len(order):
            raise DataError(nothing_held_out(file, len(written)))
        start, stop = split.bounds(len(order))
        order = order[start:stop]
        folder = base or os.path.dirname(chosen)
        paths = [_located(folder, written[i]) for i in order]
        local = not is_remote(folder)
        missing, odd = _looked_at(paths) if local else ([], [])
        if len(missing) == min(len(paths), LOOKED):
            raise DataError(
                message(
                    f"list:{file} of {len(paths)} files, none of which is there, such "
                    f"as {printable(os.fsdecode(paths[0]))}",
                    "paths as lines of " + _GRAMMAR,
                    "data_dir=DIR, the folder where relative paths begin",
                )
            )
        # A pipe or a device would be read for ever.
        pipes = [os.fsdecode(paths[place]) for place in odd]
        paths = [paths[place] for place in np.delete(np.arange(len(paths)), odd)]
        order = np.delete(order, odd)
        tenth = "a tenth of the lines, by a hash of their paths"
        lost = (f"{len(missing)} of the files are not there",) if missing else ()
        self.reading = Reading(held_out="" if SPLIT in file else tenth, notes=lost)
        super().__init__(
            f"list:{file}/{split.text}",
            paths,
            hashes[order, 0],
            [rows[written[i]] for i in order],
            tuple(names) if len(names) > 1 else (),
            max_pixels,
        )
        for path in pipes:
            self._skips.add(path, "no file, but a folder, a pipe or a device")


def read_list(file: str) -> dict[str, str]:
    """Reads the paths of a list, as written and in order, with "" or their label.

    A path that stands there twice counts once, and a warning says how many did.

    Raises:
      DataError: It is no such list, or has a path with two labels.
    """
    rows: dict[str, str] = {}
    repeated = 0
    for number, line in enumerate(read_lines(file), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        match = None if is_image(_unquoted(line)) else _LABELLED.fullmatch(line)
        if line.count("\t") == 1 and is_image(_unquoted(line.split("\t")[0])):
            match = None  # what stands before it is a path, also "a.jpg, copy.jpg"
        path, label = _unquoted(line), ""
        if match:
            path, quote = match["path"], match["quote"]
            path = path.replace(quote * 2, quote) if quote else path
            label = match["label"] or ""
            if _columns(label, match["mark"]) > 1:
                raise DataError(_no_list(file, number, line))
            label = _unquoted(label)
        elif "\t" in line:
            path, label = map(_unquoted, line.split("\t", 1))
        elif not rows and not is_image(path) and _HEADING.fullmatch(line):
            continue
        elif re.match(r"[<{\[]", line) or any(ord(c) < 32 for c in line):
            raise DataError(_no_list(file, number, line))
        path = path.strip()
        label = canonical(label.strip())
        if rows.setdefault(path, label) != label:
            raise DataError(
                message(
                    f"{printable(path)} with the labels {printable(rows[path])!r} and "
                    f"{printable(label)!r} in {file}, line {number}",
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
    named = any(map(is_image, rows)) or any("/" in path for path in rows)
    if not named and not any(rows.values()):
        raise DataError(_no_list(file, 1, next(iter(rows))))
    return rows


def read_lines(file: str) -> list[str]:
    """The lines of a text in any of the encodings that the module names."""
    try:
        with tf.io.gfile.GFile(file, "rb") as opened:
            data = opened.read()
    except tf.errors.OpError as error:
        raise DataError(
            message(
                f"list {printable(file)}: {first_line(error)}",
                "a text file with " + _GRAMMAR + " a line",
                "a file that is there",
            )
        ) from error
    if encoding_of(data) == "utf-8" and b"\0" in data:
        number = data[: data.index(b"\0")].count(b"\n") + 1
        raise DataError(_no_list(file, number, "bytes that are no text"))
    return path_lines(data)


def _unquoted(text: str) -> str:
    text = text.strip()
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
    return text[1:-1].replace(text[0] * 2, text[0]) if quoted else text


def _columns(label: str, mark: str | None) -> int:
    """In how many columns a label is, behind the path; a blank separates none."""
    if not mark:
        return 1
    rest = re.sub(r"^([\"']).*?(?<!\1)\1(?!\1)", "", label.strip())
    return 1 + rest.count(mark)


def _looked_at(paths: list[bytes]) -> tuple[list[int], list[int]]:
    """Which paths of local files are not there; which lead to what is no file."""
    missing, odd = [], []
    for place, path in enumerate(paths[:LOOKED]):
        if b"://" in path:
            continue
        try:
            mode = os.stat(path).st_mode
        except (OSError, ValueError):
            missing.append(place)
            continue
        if not stat.S_ISREG(mode):
            odd.append(place)
    return missing, odd


def _located(folder: str, path: str) -> bytes:
    if "\\" in path and "/" not in path:
        path = path.replace("\\", "/")
    return os.fsencode(os.path.join(folder, path))


def _no_list(file: str, number: int, line: str) -> str:
    return message(
        f"list:{file}, line {number}: {printable(line[:60])}",
        f"lines of {_GRAMMAR}",
        "a text file of that form",
    )


def _files(file: str, split: str) -> tuple[str, str]:
    """The list to read, and the training split's, which names the classes; or ""."""

    def there(names: tuple[str, ...]) -> list[str]:
        paths = [file.replace(SPLIT, name) for name in names]
        return [path for path in paths if tf.io.gfile.exists(path)]

    if not is_remote(file) and os.path.isdir(file):
        raise DataError(message(f"list:{file}, a folder", "a file", f"folder:{file}"))
    if SPLIT not in file:
        if not there(("",)):
            raise DataError(message(f"list:{file}", "a file", "an existing path"))
        return file, ""
    found = there(names_of(split))
    if not found:
        names = names_of(split)[:4]
        wanted = ", ".join(file.replace(SPLIT, name) for name in names)
        raise DataError(
            message(
                f"list:{file} for split {split}", f"one of {wanted}", "another split"
            )
        )
    training = there(names_of("train"))
    return found[0], training[0] if training else ""


def _keep(second: np.ndarray, split: str, *, whole: bool) -> np.ndarray:
    """Bool `[n]`: which rows of a list belong to a split."""
    if whole or split == "all":
        return np.ones(len(second), bool)
    if role(split) == "train":
        return ~held_out_tenth(second)
    if is_held_out(split):
        return held_out_tenth(second)
    raise DataError(unknown("split", split, ["all", *SPELLINGS]))


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
