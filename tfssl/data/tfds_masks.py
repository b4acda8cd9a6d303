"""Masks of data sets that TensorFlow Datasets has prepared: `tfds:NAME` with a mask.

The images are those of `TfdsSource`; the masks are read at opening, as those of
`masks:` are, and the same is counted and said of them.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfssl.data.mask_layout import CITYSCAPES, numbered
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
from tfssl.data.source import Reading, Source
from tfssl.data.splits import Split
from tfssl.data.subset import chosen
from tfssl.data.tfds_source import TfdsSource
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

FEATURES = ("segmentation_mask", "segmentation_label", "annotation", "mask")
"""Names by which the mask of another data set is known."""


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
        feature = known.feature if known else self._feature(name)
        read = self._read_masks(feature)
        if known:
            names = known.names or tuple(f"class {n}" for n in known.ids)
            table = numbered(dict(zip(known.ids, names, strict=True)))
            classes = Classes(names, table, partial=True)
        else:
            held_out = split.name != "train" and "train" in self.splits
            training = self._read_masks(feature, "train") if held_out else read
            classes = classes_of(training.counts)
        fit = agreed(read, heads(self.num_examples, self.read), classes, orient)
        if len(fit.reasons) == self.num_examples:
            raise DataError(none_left(self.name, fit, self.where))
        self.keep_masks(read.files, classes, fit.ways)
        self.reading = Reading(notes=tuple(told(read, classes, fit, self.where)))
        for place, reason in fit.reasons.items():
            self._skips.add(self.where(place), f"its mask {reason}")
        places = np.arange(self.num_examples)
        self.usable = np.setdiff1d(places, [*fit.reasons])

    def _read_masks(self, feature: str, split: str = "") -> Read:
        files = self.others(feature, split)
        return read_masks(len(files), files.__getitem__, self.max_pixels)

    def _feature(self, name: str) -> str:
        """The feature that holds masks."""
        found = [feature for feature in FEATURES if feature in self.features]
        if found:
            return found[0]
        raise DataError(
            message(
                f"tfds:{name} with the features {', '.join(self.features)}",
                f"a mask: {', '.join(FEATURES)}",
                f"one of {', '.join(KNOWN)}",
            )
        )


def open_with_masks(name: str, split: Split, **options: Any) -> Source:
    """Opens a data set; examples whose mask cannot be used are left out."""
    whole = TfdsMasks(name, split, **options)
    left = len(whole.usable)
    if left == whole.num_examples:
        return whole
    return chosen(whole, whole.usable, f"{left} with a mask")
