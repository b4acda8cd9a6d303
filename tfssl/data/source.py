"""What a data set is to the rest of the program, and the list of its losses."""

from __future__ import annotations

import dataclasses
import threading
from typing import Protocol

import numpy as np
import tensorflow as tf

from tfssl.data.header import MAX_PIXELS


class Source(Protocol):
    """A data set that can be asked for any of its examples by number.

    Attributes:
      name: As the user wrote it, with the split: `"folder:photos/train[:1000]"`.
      num_examples: >= 1.
      num_classes: None where there are no labels.
      class_names: One per class; empty where there are no labels.
      labels: int64 `[num_examples]`, -1 where an example has no label.
      ids: int64 `[num_examples]`, >= 0, distinct: an example's number for good.
      may_fail: Whether `example` can meet something unreadable; where it cannot, the
        pipelines leave out the machinery that replaces examples.
    """

    name: str
    num_examples: int
    num_classes: int | None
    class_names: tuple[str, ...]
    labels: np.ndarray
    ids: np.ndarray
    may_fail: bool

    def example(self, index: tf.Tensor) -> dict[str, tf.Tensor]:
        """Reads and decodes one example, inside a `tf.data` map.

        Args:
          index: int64 scalar in [0, num_examples).

        Returns:
          `image` uint8 `[h, w, 3]`, `label` int64 (-1: none), `id` int64.

        Raises:
          tf.errors.OpError: At run time, for an unreadable example.
        """
        ...

    def where(self, index: int) -> str:
        """The file of an example, or where else it is found: data set and number."""
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


# The names of the official ImageNet conversion, which most TFRecords follow.
IMAGE_KEY, LABEL_KEY = "image/encoded", "image/class/label"


@dataclasses.dataclass(frozen=True)
class SourceOptions:
    """How to open a source, whatever its kind.

    Attributes:
      image_size: Side of the pictures that are drawn; files keep their own size.
      data_dir: Where relative paths, or prepared TFDS data sets, are.
      index_dir: Where indexes are kept; None: `remote.cache_directory()`.
      rebuild_index: Make indexes anew.
      max_pixels: Images whose header declares more are unreadable; 0: no limit.
      tfrecord_image_key: Feature of the encoded image.
      tfrecord_label_key: Feature of the label; "": none.
      tfrecord_first_label: Number of the first class in the files.
    """

    image_size: int
    data_dir: str | None = None
    index_dir: str | None = None
    rebuild_index: bool = False
    max_pixels: int = MAX_PIXELS
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
            return f"{path} ({self._reasons.setdefault(path, reason)})"

    def listing(self) -> list[dict[str, str]]:
        """`[{"path": …, "reason": …}]`, sorted by path."""
        with self._lock:
            return [
                {"path": path, "reason": reason}
                for path, reason in sorted(self._reasons.items())
            ]


def first_line(error: Exception) -> str:
    """The first line of an error's text, without TensorFlow's node names."""
    text = str(getattr(error, "message", None) or error).strip() or repr(error)
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[0].split(" [Op:")[0].split(" {{")[0].strip()[:200]
