"""Average precision of boxes: COCO's, by pycocotools, and PASCAL VOC's. No TensorFlow.

Boxes are y0, x0, y1, x1, ends exclusive. COCO averages over overlaps .5 to .95 and 101
recalls, VOC takes overlap .5: its 2007 challenge 11 recalls, the later ones the area
under the precision that no later precision exceeds.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tfssl.config.tables import import_extra
from tfssl.errors import DataError, message

SIZES = {"small": 1, "medium": 2, "large": 3}
"""Of COCO: below 32², below 96², from there on, in pixels; the place in its tables."""

DIFFICULT, CROWD = 1, 2
OVERLAP = 0.5


class Truth(NamedTuple):
    """What is in one image: boxes `[k, 4]`, classes, kinds, areas `[k]`."""

    boxes: np.ndarray
    classes: np.ndarray
    kinds: np.ndarray
    areas: np.ndarray


class Found(NamedTuple):
    """What a detector says of one image: boxes `[d, 4]`, classes, scores `[d]`."""

    boxes: np.ndarray
    classes: np.ndarray
    scores: np.ndarray


class Detected(NamedTuple):
    """Scores of a detector.

    Attributes:
      metrics: `ap`, `ap50`, `ap75`; `ap_small`, `ap_medium`, `ap_large` where there are
        such objects; `voc_ap50` (area) and `voc_ap50_11`.
      by_class: Class to `ap`, `ap50`, `voc_ap50` and `objects`; classes that no image
        has are left out, and count in no mean.
      recalls: float `[101]`.
      precision: float `[101]`, at overlap .5, the mean over classes.
      objects: How many were to be found.
    """

    metrics: dict[str, float]
    by_class: dict[str, dict[str, float]]
    recalls: np.ndarray
    precision: np.ndarray
    objects: int


def score_boxes(
    truth: Sequence[Truth], found: Sequence[Found], names: Sequence[str]
) -> Detected:
    """Scores detections, one entry of each list an image.

    Objects that are difficult or crowds are neither asked for nor wrong to find. (COCO
    knows crowds only: to pycocotools difficult objects are such.)

    Raises:
      DataError: No object is to be found, or pycocotools is not installed.
    """
    number = len(names)
    plain = [t.classes[t.kinds == 0] for t in truth]
    objects = np.bincount(np.concatenate([*plain, np.zeros(0, np.int64)]),
                          minlength=number)  # fmt: skip
    if not objects.sum():
        got = f"{len(truth)} images without an object to find"
        raise DataError(message(got, "one or more", "another eval_split"))
    table = coco_table(truth, found, number)  # [overlaps, recalls, classes, sizes]
    metrics = {
        "ap": _mean(table[..., 0]),
        "ap50": _mean(table[0, ..., 0]),
        "ap75": _mean(table[5, ..., 0]),
        **{f"ap_{n}": _mean(table[..., k]) for n, k in SIZES.items()},
    }
    area, eleven = np.full(number, np.nan), np.full(number, np.nan)
    for label in np.flatnonzero(objects):
        hits = voc_hits(truth, found, int(label))
        area[label] = voc_average_precision(*hits)
        eleven[label] = voc_average_precision(*hits, eleven=True)
    metrics |= {"voc_ap50": np.nanmean(area), "voc_ap50_11": np.nanmean(eleven)}
    by_class = {
        names[k]: {
            "ap": _mean(table[:, :, k, 0]),
            "ap50": _mean(table[0, :, k, 0]),
            "voc_ap50": float(area[k]),
            "objects": int(objects[k]),
        }
        for k in np.flatnonzero(objects)
    }
    at_half = table[0, :, objects > 0, 0]
    return Detected(
        {n: float(v) for n, v in metrics.items() if not np.isnan(v)},
        by_class,
        np.linspace(0.0, 1.0, table.shape[1]),
        at_half.mean(0),
        int(objects.sum()),
    )


def _mean(table: np.ndarray) -> float:
    """The mean of what is known: COCO's tables hold -1 where nothing is to be found."""
    known = table[table > -1]
    return float(known.mean()) if known.size else float("nan")


def coco_table(
    truth: Sequence[Truth], found: Sequence[Found], classes: int
) -> np.ndarray:
    """Precision float `[10, 101, classes, 4]` by pycocotools, 100 detections an image.

    Axes: overlap .5 to .95, recall 0 to 1, class, size of the objects (all, small,
    medium, large). -1 where there is no object.

    Raises:
      DataError: pycocotools is not installed.
    """
    import_extra("pycocotools.coco", "dense", "scores of boxes", DataError)
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    images = [{"id": number} for number in range(len(truth))]
    categories = [{"id": label, "name": str(label)} for label in range(classes)]
    sets = []
    for rows in (_asked(truth), _said(found)):
        coco = COCO()
        for number, row in enumerate(rows, 1):
            row["id"] = number
        coco.dataset = {
            "images": images,
            "categories": categories,
            "annotations": rows,
        }
        sets.append(coco)
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        for coco in sets:
            coco.createIndex()
        scorer = COCOeval(*sets, "bbox")
        scorer.evaluate()
        scorer.accumulate()
    return np.asarray(scorer.eval["precision"])[..., 2]


def _row(image: int, box: np.ndarray, label: int, area: float) -> dict[str, Any]:
    y0, x0, y1, x1 = map(float, box)
    return {
        "image_id": image,
        "category_id": int(label),
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": float(area),
        "iscrowd": 0,
    }


def _asked(truth: Sequence[Truth]) -> list[dict[str, Any]]:
    return [
        _row(number, box, label, area) | {"iscrowd": int(kind != 0)}
        for number, image in enumerate(truth)
        for box, label, kind, area in zip(*image, strict=True)
    ]


def _said(found: Sequence[Found]) -> list[dict[str, Any]]:
    return [
        _row(number, box, label, np.prod(box[2:] - box[:2])) | {"score": float(score)}
        for number, image in enumerate(found)
        for box, label, score in zip(*image, strict=True)
    ]


def overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes `[n, 4]` and `[m, 4]`, `[n, m]`."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0.0), -1)
    sizes = [np.prod(boxes[:, 2:] - boxes[:, :2], -1) for boxes in (first, second)]
    union = sizes[0][:, None] + sizes[1][None] - shared
    return np.where(union > 0, shared / np.maximum(union, 1e-12), 0.0)


def voc_hits(
    truth: Sequence[Truth], found: Sequence[Found], label: int
) -> tuple[np.ndarray, int]:
    """Which detections of a class are right, the best first: VOC's `VOCevaldet`.

    A detection is held against the object that it overlaps most; right, if that is at
    least .5 and no better detection had it. One of a difficult object counts for
    nothing. (The ends are exclusive here; VOC adds a pixel to each side.)

    Returns:
      bool `[d]`, and the number of objects.
    """
    rows, positives = [], 0
    for image, said in zip(truth, found, strict=True):
        known = image.classes == label
        boxes, kinds = image.boxes[known], image.kinds[known]
        positives += int((kinds == 0).sum())
        taken = np.zeros(len(boxes), bool)
        own = np.flatnonzero(said.classes == label)
        own = own[np.argsort(-said.scores[own], kind="stable")]
        shared = overlaps(said.boxes[own], boxes)
        for place, score in enumerate(said.scores[own]):
            best = int(shared[place].argmax()) if len(boxes) else -1
            right = len(boxes) > 0 and shared[place, best] >= OVERLAP
            if right and kinds[best]:
                continue
            rows.append((float(score), bool(right and not taken[best])))
            if right:
                taken[best] = True
    order = np.argsort([-score for score, _ in rows], kind="stable")
    return np.array([right for _, right in rows], bool)[order], positives


def voc_average_precision(
    right: np.ndarray, positives: int, *, eleven: bool = False
) -> float:
    """Computes PASCAL VOC's average precision.

    Args:
      right: bool `[d]`, the detections, the best first.
      positives: Objects to be found, at least 1.
      eleven: As in 2007: the mean of the best precision at recall 0, .1, … 1 or more;
        else the area under the best precision at each recall or more.
    """
    hits = np.cumsum(right)
    recall = hits / positives
    precision = hits / np.arange(1, len(right) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    if eleven:
        # A recall of 3/10 is less than the 0.30000000000000004 of a range.
        points = [best[recall >= n / 10 - 1e-9] for n in range(11)]
        return float(np.mean([p[0] if len(p) else 0.0 for p in points]))
    return float((np.diff(recall, prepend=0.0) * best).sum())
