"""Boxes with classes: the targets of detection, those of all examples of a source.

All annotations of a data set fit in memory, so they are tables beside the images, and
a pipeline looks them up by the example's index. Boxes are float32 y0, x0, y1, x1 in
pixels of the picture as `Source.example` gives it, ends exclusive.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfssl.data.host_table import Texts
from tfssl.data.text_files import canonical

PLAIN, DIFFICULT, CROWD = 0, 1, 2
"""Kinds of objects: to be found; VOC's `difficult`, learned and not asked for; COCO's
`iscrowd`, a region of many objects, neither learned nor asked for."""


class OfImage(NamedTuple):
    """The objects of one image.

    Attributes:
      boxes: float32 `[k, 4]`.
      classes: int64 `[k]`, indices into the names.
      kinds: int8 `[k]`.
      areas: float32 `[k]`, of the objects in pixels: by these COCO calls them small.
    """

    boxes: np.ndarray
    classes: np.ndarray
    kinds: np.ndarray
    areas: np.ndarray

    @classmethod
    def of(
        cls,
        boxes: Sequence | np.ndarray,
        classes: Sequence | np.ndarray,
        kinds: Sequence | np.ndarray = (),
        areas: Sequence | np.ndarray = (),
    ) -> OfImage:
        """Makes arrays; all are `PLAIN` and as large as their boxes if not said."""
        found = np.asarray(boxes, np.float32).reshape(-1, 4)
        size = np.prod(found[:, 2:] - found[:, :2], -1)
        many = len(found)
        return cls(
            found,
            np.asarray(classes, np.int64).reshape(many),
            np.asarray(kinds if len(kinds) else np.zeros(many), np.int8),
            np.asarray(areas if len(areas) else size, np.float32),
        )


@dataclasses.dataclass(frozen=True)
class Objects:
    """The objects of all examples.

    Attributes:
      class_names: One a class.
      images: One an example, in the source's order.
    """

    class_names: tuple[str, ...]
    images: tuple[OfImage, ...]

    def chosen(self, places: np.ndarray) -> Objects:
        """Those of some examples, in that order."""
        return Objects(self.class_names, tuple(self.images[p] for p in places))

    def in_classes(self, names: Sequence[str]) -> tuple[Objects, dict[str, int]]:
        """The same in the numbering of other names.

        Returns:
          Without the objects of classes that are not among them, and how many these
          are, by class.
        """
        place = {canonical(name): number for number, name in enumerate(names)}
        own = [place.get(canonical(name), -1) for name in self.class_names]
        table = np.array(own or [-1], np.int64)
        images, strange = [], np.zeros(len(table), np.int64)
        for image in self.images:
            new = table[image.classes]
            strange += np.bincount(image.classes[new < 0], minlength=len(table))
            kept = OfImage(*(column[new >= 0] for column in image))
            images.append(kept._replace(classes=new[new >= 0]))
        left_out = {
            name: int(count)
            for name, count in zip(self.class_names, strange, strict=False)
            if count
        }
        return Objects(tuple(names), tuple(images)), left_out

    def counts(self) -> np.ndarray:
        """int64 `[classes]`, objects of each class."""
        every = [image.classes for image in self.images]
        flat = np.concatenate(every) if every else np.zeros(0, np.int64)
        return np.bincount(flat, minlength=len(self.class_names))

    def digest(self) -> str:
        """SHA-256 over everything."""
        found = hashlib.sha256("\0".join(self.class_names).encode("utf-8", "replace"))
        for image in self.images:
            for array in image:
                found.update(np.ascontiguousarray(array).tobytes())
            found.update(b"\0")
        return found.hexdigest()

    def asked(self) -> int:
        """How many are to be found: neither difficult nor crowds."""
        return sum(int((image.kinds == PLAIN).sum()) for image in self.images)

    def text(self) -> str:
        """`"812 objects of 10 classes, 3 images without any"`."""
        counts = self.counts()
        without = sum(not len(image.boxes) for image in self.images)
        kinds = np.concatenate([i.kinds for i in self.images] or [np.zeros(0)])
        parts = [f"{counts.sum()} objects of {len(counts)} classes"]
        for kind, what in ((DIFFICULT, "difficult"), (CROWD, "crowds")):
            if number := int((kinds == kind).sum()):
                parts.append(f"{number} {what}")
        return ", ".join(parts + ([f"{without} images without any"] if without else []))


class Padded:
    """What a training learns from, by example, in one shape for all.

    Args:
      objects: Of a source. Crowds are left out, as detectron2 does.
    """

    def __init__(self, objects: Objects):
        rows = []
        for image in objects.images:
            kept = image.kinds != CROWD
            row = np.concatenate([image.boxes, image.classes[:, None]], 1)[kept]
            rows.append(row.astype("<f4"))
        self.most = max([1, *map(len, rows)])
        self._rows = Texts([row.tobytes() for row in rows])

    def __call__(self, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """float32 `[most, 4]` and int64 `[most]`; -1 and zeros behind the last."""
        found = tf.reshape(tf.io.decode_raw(self._rows(index), tf.float32), [-1, 5])
        spare = self.most - tf.shape(found)[0]
        boxes = tf.pad(found[:, :4], [[0, spare], [0, 0]])
        classes = tf.cast(found[:, 4], tf.int64)
        classes = tf.pad(classes, [[0, spare]], constant_values=-1)
        return tf.ensure_shape(boxes, [self.most, 4]), tf.ensure_shape(
            classes, [self.most]
        )
