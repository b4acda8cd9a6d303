"""Masks of data sets that TensorFlow Datasets has prepared: `tfds:NAME` with a mask.

The images are those of `TfdsSource`; the masks are read at opening, as those of
`masks:` are, and the same is counted and said of them. Those of `coco/2017_panoptic`
hold ids of segments, whose classes the same example says.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tfssl.augment.dense import IGNORED
from tfssl.data.box_files import Tally
from tfssl.data.mask_files import Mask, read_mask
from tfssl.data.mask_layout import CITYSCAPES, numbered, require_few
from tfssl.data.mask_reading import (
    Classes,
    Read,
    WithMasks,
    agreed,
    classes_of,
    heads,
    none_left,
    read_masks,
    told,
)
from tfssl.data.panoptic import KINDS, Segments
from tfssl.data.source import Reading, Source
from tfssl.data.splits import Split
from tfssl.data.subset import chosen
from tfssl.data.tfds_boxes import columns_of
from tfssl.data.tfds_source import MASKS, PANOPTIC, TfdsSource
from tfssl.errors import DataError, message


@dataclasses.dataclass(frozen=True)
class Known:
    """What a data set's masks mean.

    Attributes:
      feature: Of the mask.
      names: Of the classes.
      ids: The number in the file of each class, in order.
    """

    feature: str
    names: tuple[str, ...]
    ids: tuple[int, ...]


KNOWN: Mapping[str, Known] = {
    "oxford_iiit_pet": Known("segmentation_mask", ("pet", "background", "border"),
                             (1, 2, 3)),
    "scene_parse150": Known("annotation", (), tuple(range(1, 151))),
    "cityscapes": Known("segmentation_label", tuple(CITYSCAPES.values()),
                        tuple(CITYSCAPES)),
}  # fmt: skip
"""Data sets whose numbers are not simply classes from 0 on; 0 of scene_parse150 is
"other", which its benchmark does not score."""


class TfdsMasks(WithMasks, TfdsSource):
    """A prepared data set whose examples also have `mask`, uint8 `[h, w, 1]`.

    Args:
      name: As of `TfdsSource`.
      split: Of it.
      orient: `"none"` or `"exif"`.
      **options: Of `TfdsSource`.

    Attributes:
      pixel_classes: Names of the classes of pixels.
      usable: int64, the examples whose mask can be used.

    Raises:
      DataError: As of `TfdsSource`; or the data set has no mask.
    """

    def __init__(self, name: str, split: Split, *, orient: str, **options: Any):
        super().__init__(name, split, **options)
        known = KNOWN.get(re.split("[/:]", name)[0])
        tally = Tally(KINDS)
        if self.targets.get("mask") == PANOPTIC[0]:
            names = _names(self.features[PANOPTIC[1]])
            read = read_masks(self.num_examples, self._segmented(tally), self._read_one)
            classes = Classes(names, numbered(dict(enumerate(names))))
        elif known:
            read = self._read_masks(known.feature)
            names = known.names or tuple(f"class {n}" for n in known.ids)
            table = numbered(dict(zip(known.ids, names, strict=True)))
            classes = Classes(names, table, partial=True)
        else:
            feature = self._feature(name)
            read = self._read_masks(feature)
            held_out = split.name != "train" and "train" in self.splits
            training = self._read_masks(feature, "train") if held_out else read
            classes = classes_of(training.counts)
        fit = agreed(read, heads(self.num_examples, self.read), classes, orient)
        if len(fit.reasons) == self.num_examples:
            raise DataError(none_left(self.name, fit, self.where))
        self.keep_masks(read.files, classes, fit.ways)
        said = told(read, classes, fit, self.where)
        self.reading = Reading(notes=(*tally.notes(), *said))
        for place, reason in fit.reasons.items():
            self._skips.add(self.where(place), f"its mask {reason}")
        places = np.arange(self.num_examples)
        self.usable = np.setdiff1d(places, [*fit.reasons])

    def _read_masks(self, feature: str, split: str = "") -> Read:
        count = self.splits[split] if split else self.num_examples
        rows = ((data, None) for (data,) in self.rows_of(feature, split=split))
        return read_masks(count, rows, self._read_one)

    def _read_one(self, row: tuple[Any, Segments | None]) -> Mask:
        return read_mask(bytes(row[0]), self.max_pixels, row[1])

    def _segmented(self, tally: Tally) -> Iterator[tuple[Any, Segments]]:
        """Each mask with the classes of its ids."""
        classes = range(len(_names(self.features[PANOPTIC[1]])))
        for number, (data, row) in enumerate(self.rows_of(*PANOPTIC)):
            columns, segments = columns_of(row), {}
            ids, labels = (columns.get(key, ()) for key in ("id", "label"))
            for one, label in zip(map(int, ids), map(int, labels), strict=True):
                if one in segments:
                    tally.add("twin_segments", self.where(number))
                    continue
                if label not in classes:
                    tally.add("unknown", self.where(number))
                segments[one] = label if label in classes else IGNORED
            yield data, segments

    def _feature(self, name: str) -> str:
        """The feature that holds masks."""
        if found := self.targets.get("mask"):
            return found
        raise DataError(
            message(
                f"tfds:{name} with the features {', '.join(self.features)}",
                f"a mask: {', '.join(MASKS)}",
                f"one of {', '.join(KNOWN)}",
            )
        )


def _names(objects: Any) -> tuple[str, ...]:
    """Names of the classes of a sequence of objects."""
    labels = objects.feature["label"]
    names = tuple(labels.names or (f"class {n}" for n in range(labels.num_classes)))
    require_few(names)
    return names


def open_with_masks(name: str, split: Split, **options: Any) -> Source:
    """Opens a data set; examples whose mask cannot be used are left out."""
    whole = TfdsMasks(name, split, **options)
    left = len(whole.usable)
    if left == whole.num_examples:
        return whole
    return chosen(whole, whole.usable, f"{left} with a mask")
