"""Boxes of data sets that TensorFlow Datasets has prepared: `voc/2012`, `coco/2017`.

The images are those of `TfdsSource`; the boxes are those of the feature `objects`, or
of another sequence with `bbox` and `label`, and the same is counted and said of them as
of `coco:` and `voc:`. They are shares of the image's sides as its file lies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfssl.data.box_files import Annotation, Box, Tally, within
from tfssl.data.decode import decode
from tfssl.data.mask_files import header
from tfssl.data.objects import CROWD, DIFFICULT, PLAIN, Objects, OfImage
from tfssl.data.source import Reading
from tfssl.data.splits import Split
from tfssl.data.tfds_source import TfdsSource
from tfssl.errors import DataError, message

KINDS = {"is_difficult": DIFFICULT, "is_crowd": CROWD}
"""Features of an object that tell its kind."""


class TfdsBoxes(TfdsSource):
    """A prepared data set with `objects`; arguments are those of `TfdsSource`.

    Raises:
      DataError: As of `TfdsSource`; or the data set has no boxes.
    """

    def __init__(self, name: str, split: Split, **options: Any):
        super().__init__(name, split, **options)
        feature = self.targets.get("boxes", "")
        if not feature:
            raise DataError(
                message(
                    f"tfds:{name} with the features {', '.join(self.features)}",
                    "a sequence of objects with bbox and label",
                    "tfds:voc/2012 or tfds:coco/2017",
                )
            )
        labels = self.features[feature].feature["label"]
        names = labels.names or [f"class {n}" for n in range(labels.num_classes)]
        tally, found = Tally(), []
        rows = self.rows_of(self.image_key, feature)
        for number, (data, row) in enumerate(rows):
            where = self.where(number)
            try:
                height, width, _ = header(data)
            except ValueError:  # training passes it over, and says so
                tally.add("broken_image", where)
                found.append(OfImage.of([], []))
                continue
            columns = columns_of(row)
            boxes = tuple(_boxes(columns, names, where, tally))
            known = within(Annotation(boxes, None, True), (height, width), where, tally)
            found.append(
                OfImage.of(
                    [box.corners for box in known],
                    [names.index(box.label) for box in known],
                    [box.kind for box in known],
                    [_area(box) for box in known],
                )
            )
        self.objects = Objects(tuple(names), tuple(found))
        self.targets_digest = self.objects.digest()
        self.dirt = tally.counts
        self.reading = Reading(notes=(self.objects.text(), *tally.notes()))

    def example(self, index: tf.Tensor) -> dict[str, tf.Tensor]:
        """See `Source.example`; as the file lies, whatever `--orient` says."""
        found = self.encoded(index)
        return {"image": decode(found.pop("data"), self.max_pixels), **found}


def columns_of(row: Any) -> dict[str, Any]:
    """Objects as columns, whether a reader gives columns or rows."""
    if isinstance(row, Mapping):
        return dict(row)
    rows = list(row)
    return {key: [r[key] for r in rows] for key in (rows[0] if rows else ())}


def _boxes(
    columns: Mapping[str, Any], names: list[str], where: str, tally: Tally
) -> Iterator[Box]:
    labels = columns.get("label", ())
    for number, (box, label) in enumerate(
        zip(columns.get("bbox", ()), labels, strict=True)
    ):
        corners = [float(value) for value in np.asarray(box).ravel()]
        if len(corners) != 4 or not np.isfinite(corners).all():
            tally.add("not_numbers", where)
        elif not 0 <= int(label) < len(names):
            tally.add("unknown", where)
        else:
            kinds = [k for n, k in KINDS.items() if n in columns and columns[n][number]]
            area = float(columns["area"][number]) if "area" in columns else None
            kind = max(kinds, default=PLAIN)
            yield Box(names[int(label)], tuple(corners), kind, area)


def _area(box: Box) -> float:
    y0, x0, y1, x1 = box.corners
    return box.area if box.area and box.area > 0 else (y1 - y0) * (x1 - x0)
