"""A part of a source, chosen by example index, without reading any example."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfssl.data.host_table import Numbers
from tfssl.data.source import Described, Reading, Several, Source
from tfssl.errors import DataError, message

TENTH = 10


class Subset(Described):
    """Some examples of a source; ids and everything else are the source's.

    Args:
      base: The whole source.
      count: Number of examples in the subset, >= 1.
      place: Index in the subset to index in the source, for int64 tensors and arrays.
      what: Added to the name.
    """

    def __init__(self, base: Source, count: int, place: Callable, what: str):
        self._base = base
        self.reading = getattr(base, "reading", Reading())
        self._place = place
        self.num_examples = count
        self.num_classes = base.num_classes
        self.class_names = base.class_names
        self.unknown_classes = getattr(base, "unknown_classes", ())
        places = place(np.arange(count, dtype=np.int64))
        self.labels, self.ids = base.labels[places], base.ids[places]
        if (several := getattr(base, "several", None)) is not None:
            self.several = Several(several.targets[places], several.class_names)
        self.pixel_classes = getattr(base, "pixel_classes", ())
        if (objects := getattr(base, "objects", None)) is not None:
            self.objects = objects.chosen(places)
        self.targets_digest = getattr(base, "targets_digest", "")
        self.may_fail = base.may_fail
        self.name = f"{base.name}, {what}"

    def example(self, index: tf.Tensor) -> dict[str, tf.Tensor]:
        """See `Source.example`."""
        return self._base.example(self._place(tf.cast(index, tf.int64)))

    def mask(self, index: tf.Tensor) -> tf.Tensor:
        """The mask of an example, of a source that has them."""
        return self._base.mask(self._place(tf.cast(index, tf.int64)))

    def where(self, index: int) -> str:
        """See `Source.where`."""
        return self._base.where(int(self._place(index)))

    def content(self, index: int) -> bytes:
        """See `Source.content`."""
        return self._base.content(int(self._place(index)))

    def failed(self, index: int) -> str:
        """See `Source.failed`."""
        return self._base.failed(int(self._place(index)))

    def skipped(self) -> list[dict[str, str]]:
        """See `Source.skipped`."""
        return self._base.skipped()


class Joined(Described):
    """Two sources of the same classes, one after the other.

    Args:
      first: The one whose classes and way of reading it has.
      second: Labels in the same numbering; other ids.
      several: The labels of both, where an image may have several.
    """

    def __init__(self, first: Source, second: Source, several: Several | None = None):
        self._parts = first, second
        self._first = first.num_examples
        self.reading = getattr(first, "reading", Reading())
        self.num_examples = first.num_examples + second.num_examples
        self.num_classes, self.class_names = first.num_classes, first.class_names
        self.unknown_classes: tuple[str, ...] = ()
        self.labels = np.concatenate([part.labels for part in self._parts])
        self.ids = np.concatenate([part.ids for part in self._parts])
        self.several = several
        self.may_fail = first.may_fail or second.may_fail
        self.name = f"{first.name} and {second.name}"

    def example(self, index: tf.Tensor) -> dict[str, tf.Tensor]:
        """See `Source.example`."""
        index, last = tf.cast(index, tf.int64), self._first - 1
        return tf.cond(
            index <= last,
            lambda: _plain(self._parts[0].example(tf.minimum(index, last))),
            lambda: _plain(self._parts[1].example(tf.maximum(index - last - 1, 0))),
        )

    def where(self, index: int) -> str:
        """See `Source.where`."""
        part, place = _part(int(index), self._first)
        return self._parts[part].where(place)

    def content(self, index: int) -> bytes:
        """See `Source.content`."""
        part, place = _part(int(index), self._first)
        return self._parts[part].content(place)

    def failed(self, index: int) -> str:
        """See `Source.failed`."""
        part, place = _part(int(index), self._first)
        return self._parts[part].failed(place)

    def skipped(self) -> list[dict[str, str]]:
        """See `Source.skipped`."""
        return [row for part in self._parts for row in part.skipped()]


def _part(index: int, first: int) -> tuple[int, int]:
    """Which of two parts an index is in, and where in it."""
    return (1, index - first) if index >= first else (0, index)


def _plain(example: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """The fields that all sources have, in shapes that all have."""
    image = tf.ensure_shape(example["image"], [None, None, 3])
    return {"image": image, "label": example["label"], "id": example["id"]}


def chosen(base: Source, places: np.ndarray, what: str) -> Source:
    """The examples at some indices, int64 `[n]`, in that order."""
    table = Numbers(places)

    def place(index: tf.Tensor | np.ndarray | int) -> tf.Tensor | np.ndarray:
        return table(index) if tf.is_tensor(index) else places[index]

    return Subset(base, len(places), place, what)


def oversampled(base: Source) -> Source:
    """Repeats the images of rarer classes, whole rounds first, up to the largest class.

    Args:
      base: A labelled source. Images without a label are left out.

    Returns:
      `classes * n` examples, n the images of the largest class; ids are the source's.
    """
    of_class = [np.flatnonzero(base.labels == c) for c in range(base.num_classes or 0)]
    there = [places for places in of_class if len(places)]
    most = max(map(len, there))
    # By turns, as no order of a source may put class after class.
    rows = np.stack([np.resize(places, most) for places in there], 1)
    return chosen(base, rows.ravel().astype(np.int64), f"{most} of each class")


def spread(base: Source, count: int) -> Source:
    """At most `count` examples, evenly spread: sources may list class after class.

    Args:
      base: The source.
      count: Wanted number; 0 for all.
    """
    total = base.num_examples
    if not count or count >= total:
        return base
    return Subset(base, count, lambda i: i * total // count, f"{count} of {total}")


def without_tenth(base: Source) -> Source:
    """Nine tenths of a source: all but examples 9, 19, 29 and so on."""
    count = base.num_examples - base.num_examples // TENTH
    return Subset(base, count, lambda i: i + i // (TENTH - 1), "nine tenths")


def tenth(base: Source, single: str = "linear_learning_rates=0.1") -> Source:
    """Examples 9, 19, 29, … of a source: what `without_tenth` leaves out.

    Args:
      base: The source.
      single: The flags with which nothing has to be chosen, for the error.

    Raises:
      DataError: The source has fewer than ten examples.
    """
    if base.num_examples < TENTH:
        raise DataError(
            message(
                f"{base.num_examples} examples to hold out a tenth of",
                f"at least {TENTH}",
                f"{single}, as one rate needs no held-out images",
            )
        )
    count = base.num_examples // TENTH
    return Subset(base, count, lambda i: i * TENTH + TENTH - 1, "a tenth")


def require_labels(source: Source, what: str) -> int:
    """The number of classes.

    Args:
      source: Training or held-out images.
      what: Flag that needs labels, for the error.

    Raises:
      DataError: The source has no labels.
    """
    if getattr(source, "several", None) is not None:
        raise DataError(
            message(
                f"{source.name}, whose images have several labels, for {what}",
                "one label an image",
                "mode=finetune or mode=transfer, which learn each of several labels",
            )
        )
    if not source.num_classes:
        raise DataError(
            message(
                f"{source.name}, which has no labels, for {what}",
                "labels: one folder per class, or a labelled data set",
                "sorting the images into class folders, or another dataset",
            )
        )
    return source.num_classes
