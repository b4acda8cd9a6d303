"""Image files, each with a label and a number: what `folder:` and `list:` share."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfssl.data.classes import renumbered
from tfssl.data.encoded import Encoded
from tfssl.data.host_table import Numbers, Texts
from tfssl.data.source import NO_LABEL
from tfssl.data.tree import path_hash


class Files(Encoded):
    """Image files in the order given.

    Args:
      name: Of the source.
      paths: Full paths, as bytes.
      ids: int64 `[n]`, >= 0, distinct.
      classes: `[n]`, the name of each file's class; "" where it has none.
      class_names: Those of training, in form C; empty where there are no labels.
      max_pixels: See `Encoded`.
    """

    def __init__(
        self,
        name: str,
        paths: Sequence[bytes],
        ids: np.ndarray,
        classes: Sequence[str] | np.ndarray,
        class_names: tuple[str, ...],
        max_pixels: int,
    ):
        super().__init__(max_pixels)
        self.name = name
        self.num_examples = len(paths)
        self.class_names = class_names
        self.num_classes = len(class_names) or None
        self.ids = ids
        labels = np.full(len(paths), NO_LABEL, np.int64)
        if class_names:
            names = sorted({*classes} - {""})
            place = {name: number for number, name in enumerate(names)}
            own = (place.get(name, NO_LABEL) for name in classes)
            labels, self.unknown_classes = renumbered(
                np.fromiter(own, np.int64, len(paths)), names, class_names
            )
        self.labels = labels
        self._paths = Texts(paths)
        self._label_table, self._id_table = Numbers(labels), Numbers(ids)

    def encoded(self, index: tf.Tensor) -> dict[str, tf.Tensor]:
        """See `Encoded.encoded`."""
        return {
            "data": tf.io.read_file(self._paths(index)),
            "label": self._label_table(index),
            "id": self._id_table(index),
        }

    def where(self, index: int) -> str:
        """The file's path."""
        return os.fsdecode(self._paths.at(index))

    def read(self, index: int) -> bytes:
        """See `Encoded.read`."""
        path = self.where(index)
        if "://" in path:
            return tf.io.read_file(path).numpy()
        with open(path, "rb") as file:
            return file.read()


def one_file(path: str, max_pixels: int) -> Files:
    """A data set of one image file, without a label."""
    number = np.array([path_hash(path)[0]], np.int64)
    return Files(path, [os.fsencode(path)], number, [""], (), max_pixels)
