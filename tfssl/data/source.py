"""What a data set is to the rest of the program, and the list of its losses."""

from __future__ import annotations

import dataclasses
import re
import threading
from typing import Protocol

import numpy as np
import tensorflow as tf

from tfssl.data.formats import MAX_PIXELS
from tfssl.data.objects import Objects
from tfssl.errors import printable

NO_LABEL = -1
"""The label of an example that has none."""


@dataclasses.dataclass(frozen=True)
class Reading:
    """How a data set was read: what its names and files were taken for.

    Attributes:
      held_out: Where the held-out images come from, in words.
      passed_over: Files that are no images we read, by extension.
      leftovers: Entries that systems leave behind, by the kind of their name.
      notes: Anything else that was decided, one sentence each.
    """

    held_out: str = ""
    passed_over: dict[str, int] = dataclasses.field(default_factory=dict)
    leftovers: dict[str, int] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Several:
    """Labels of a data set whose images have any number of them.

    Attributes:
      targets: int8 `[n, classes]`: 1 the image has the label, 0 it has not, -1 that is
        not to be asked (an object too difficult to tell).
      class_names: One a class.
    """

    targets: np.ndarray
    class_names: tuple[str, ...]


class Described:
    """What every source can say of itself, from what `Source` names."""

    name: str
    num_examples: int
    class_names: tuple[str, ...]
    labels: np.ndarray
    unknown_classes: tuple[str, ...] = ()
    several: Several | None = None
    pixel_classes: tuple[str, ...] = ()
    objects: Objects | None = None
    targets_digest: str = ""
    reading = Reading()

    def class_of(self, index: int) -> str:
        """The name of an example's class, also of an unknown one; "" without one."""
        label = int(self.labels[index])
        if label >= 0:
            return self.class_names[label] if self.class_names else ""
        return "" if label == NO_LABEL else self.unknown_classes[NO_LABEL - 1 - label]

    def content(self, index: int) -> bytes:
        """See `Source.content`; what is drawn by the program has none."""
        del index
        return b""

    def summary(self) -> Summary:
        """Says how the data set was read: see `Summary`."""
        counts = np.bincount(
            self.labels[self.labels >= 0], minlength=len(self.class_names)
        )
        classes = dict(zip(self.class_names, map(int, counts), strict=False))
        unlabelled = int((self.labels == NO_LABEL).sum())
        if self.several is not None:
            found = (self.several.targets > 0).sum(axis=0).tolist()
            classes = dict(zip(self.several.class_names, found, strict=True))
            unlabelled = 0
        strange = NO_LABEL - 1 - self.labels[self.labels < NO_LABEL]
        of = np.bincount(strange, minlength=len(self.unknown_classes))
        return Summary(
            self.name,
            self.num_examples,
            classes,
            unlabelled,
            {n: int(c) for n, c in zip(self.unknown_classes, of, strict=True) if c},
            self.reading,
        )


@dataclasses.dataclass(frozen=True)
class Summary:
    """One opening of a data set, for people (`text`) and for files (`as_dict`)."""

    name: str
    images: int
    classes: dict[str, int]
    unlabelled: int
    unknown: dict[str, int]
    reading: Reading

    @property
    def text(self) -> str:
        """One line, printable everywhere."""
        reading = self.reading
        parts = [f"{printable(self.name)}: {self.images} images"]
        if self.classes:
            parts.append(f"{len(self.classes)} classes ({_counted(self.classes)})")
        if self.unlabelled or not self.classes:
            without = (
                "no labels" if not self.classes else f"{self.unlabelled} unlabelled"
            )
            parts.append(without)
        if self.unknown:
            parts.append(
                f"not scored, since training has no such class: "
                f"{_counted(self.unknown)}"
            )
        if reading.held_out:
            parts.append(f"held out: {reading.held_out}")
        if reading.passed_over:
            total = sum(reading.passed_over.values())
            parts.append(f"passed over {total} files ({_counted(reading.passed_over)})")
        if reading.leftovers:
            parts.append(f"left out as no data: {_counted(reading.leftovers)}")
        return "; ".join([*parts, *map(printable, reading.notes)])

    def as_dict(self) -> dict[str, object]:
        """The same for JSON."""
        return {
            "name": printable(self.name),
            "images": self.images,
            "classes": {printable(k): n for k, n in self.classes.items()},
            "unlabelled": self.unlabelled,
            "unknown_classes": {printable(k): n for k, n in self.unknown.items()},
            "held_out": printable(self.reading.held_out),
            "passed_over": dict(self.reading.passed_over),
            "leftovers": dict(self.reading.leftovers),
            "notes": list(map(printable, self.reading.notes)),
        }


def _counted(counts: dict[str, int], most: int = 5) -> str:
    ordered = sorted(counts.items(), key=lambda pair: -pair[1])
    named = [f"{n} {printable(name) or 'without extension'}" for name, n in ordered]
    more = f", {len(named) - most} more" if len(named) > most else ""
    return ", ".join(named[:most]) + more


class Source(Protocol):
    """A data set that can be asked for any of its examples by number.

    Attributes:
      name: As the user wrote it, with the split: `"folder:photos/train[:1000]"`.
      num_examples: >= 1.
      num_classes: None where there are no labels.
      class_names: One per class; empty where there are no labels.
      labels: int64 `[num_examples]`; `NO_LABEL` (-1) where an example has none, and
        -2 - k where it has class k of `unknown_classes`.
      unknown_classes: Names of classes that the training images lack.
      several: Where images have any number of labels: those. `labels` are -1 then, and
        there are no `class_names`.
      pixel_classes: Where examples have a `mask`: the names of its classes.
      objects: Where they have boxes: those of all examples.
      targets_digest: Where they have other targets than a label: what tells these from
        others.
      ids: int64 `[num_examples]`, >= 0, distinct: an example's number for good.
      may_fail: Whether `example` can meet something unreadable; where it cannot, the
        pipelines leave out the machinery that replaces examples.
    """

    name: str
    num_examples: int
    num_classes: int | None
    class_names: tuple[str, ...]
    labels: np.ndarray
    unknown_classes: tuple[str, ...]
    several: Several | None
    pixel_classes: tuple[str, ...]
    objects: Objects | None
    targets_digest: str
    ids: np.ndarray
    may_fail: bool

    def example(self, index: tf.Tensor) -> dict[str, tf.Tensor]:
        """Reads and decodes one example, inside a `tf.data` map.

        Args:
          index: int64 scalar in [0, num_examples).

        Returns:
          `image` uint8 `[h, w, 3]`, `label` int64 as in `labels`, `id` int64.

        Raises:
          tf.errors.OpError: At run time, for an unreadable example.
        """
        ...

    def where(self, index: int) -> str:
        """The file of an example, or where else it is found: data set and number."""
        ...

    def content(self, index: int) -> bytes:
        """The bytes of an example, undecoded, outside of any graph.

        Raises:
          OSError, tf.errors.OpError: They cannot be read.
        """
        ...

    def failed(self, index: int) -> str:
        """Told that `example(index)` failed: finds out why, writes it down once.

        Returns:
          `"PATH (reason)"`.
        """
        ...

    def skipped(self) -> list[dict[str, str]]:
        """The unreadable examples met so far, each once: `path` and `reason`."""
        ...

    def summary(self) -> Summary:
        """Says how the data set was read."""
        ...


_STACK = ("Graph execution error", "Detected at node", "<stack traces", " ")
_NODES = re.compile(r"\{\{\w+ .*?\}\}\s*")
# The names of the official ImageNet conversion, which most TFRecords follow.
IMAGE_KEY, LABEL_KEY = "image/encoded", "image/class/label"


@dataclasses.dataclass(frozen=True)
class SourceOptions:
    """How to open a source, whatever its kind.

    Attributes:
      image_size: Side of the pictures that are drawn; files keep their own size.
      data_dir: Where relative paths, or prepared TFDS data sets, are.
      index_dir: Where indexes are kept; None: `remote.cache_directory()`.
      keep: Draw all pictures at opening, if they fit in memory; False: when asked for.
      rebuild_index: Make indexes anew.
      max_pixels: Images whose header declares more are unreadable; 0: no limit.
      orient: `"exif"`: pictures are turned upright; `"none"`: they stay as they lie.
      targets: `"mask"`: examples also have a mask of classes; `"boxes"`: the source has
        `objects`; empty: only a label.
      tfrecord_image_key: Feature of the encoded image.
      tfrecord_label_key: Feature of the label; "": none.
      tfrecord_first_label: Number of the first class in the files.
    """

    image_size: int
    data_dir: str | None = None
    index_dir: str | None = None
    keep: bool = True
    rebuild_index: bool = False
    max_pixels: int = MAX_PIXELS
    orient: str = "none"
    targets: str = ""
    tfrecord_image_key: str = IMAGE_KEY
    tfrecord_label_key: str = LABEL_KEY
    tfrecord_first_label: int = 0


class SkipList:
    """Unreadable examples, each once; several threads may write."""

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}
        self._lock = threading.Lock()

    def __contains__(self, path: str) -> bool:
        return path in self._reasons

    def add(self, path: str, reason: str) -> str:
        """Writes one down; the first reason stands. Returns `"PATH (reason)"`."""
        with self._lock:
            return f"{printable(path)} ({self._reasons.setdefault(path, reason)})"

    def listing(self) -> list[dict[str, str]]:
        """`[{"path": …, "reason": …}]`, sorted by path."""
        with self._lock:
            return [
                {"path": printable(path), "reason": reason}
                for path, reason in sorted(self._reasons.items())
            ]


def first_line(error: Exception) -> str:
    """The first line of an error's text, without what TensorFlow puts around it."""
    text = str(getattr(error, "message", None) or error).strip() or repr(error)
    text = _NODES.sub("", text.partition("\n\t [[")[0])
    # Of a graph the stack comes first, indented, then the text.
    lines = [line for line in text.splitlines() if not line.startswith(_STACK)]
    return next(filter(str.strip, lines), repr(error)).split(" [Op:")[0].strip()[:200]
