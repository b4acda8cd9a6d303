"""Average precision: against cases worked by hand, and pycocotools' own summary."""

import contextlib
import io

import numpy as np
import pytest

from tfssl.errors import DataError
from tfssl.evaluate.detection import (
    Found,
    Truth,
    overlaps,
    score_boxes,
    voc_average_precision,
    voc_hits,
)

NAMES = ("a", "b", "c")


def truth(boxes, classes, kinds=None):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    kinds = np.zeros(len(boxes), np.int8) if kinds is None else np.array(kinds, np.int8)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], -1)
    return Truth(boxes, np.array(classes, np.int64), kinds, areas)


def found(boxes, classes, scores):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    return Found(boxes, np.array(classes, np.int64), np.array(scores, np.float32))


NONE = found([], [], [])


def some(seed=0, images=30):
    rng = np.random.default_rng(seed)

    def boxes(n):
        corner = rng.uniform(0, 150, (n, 2))
        return np.concatenate([corner, corner + rng.uniform(5, 120, (n, 2))], 1)

    known, said = [], []
    for _ in range(images):
        n = rng.integers(0, 6)
        known.append(
            truth(boxes(n), rng.integers(0, 3, n), rng.integers(0, 10, n) // 9)
        )
        near = known[-1].boxes + rng.normal(0, 8, (n, 4))
        near = np.concatenate([near, boxes(3)])
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        labels = np.concatenate([known[-1].classes, rng.integers(0, 3, 3)])
        said.append(found(near, labels, rng.random(n + 3)))
    return known, said


def test_a_perfect_detector_has_one_and_an_empty_one_zero():
    known, _ = some()
    perfect = [found(t.boxes, t.classes, np.ones(len(t.boxes))) for t in known]
    best = score_boxes(known, perfect, NAMES)
    assert set(best.metrics.values()) == {1.0}
    assert best.precision.min() == 1.0
    assert best.objects == sum((t.kinds == 0).sum() for t in known)
    none = score_boxes(known, [NONE] * len(known), NAMES)
    assert set(none.metrics.values()) == {0.0}
    assert set(none.metrics) == set(best.metrics)


def test_the_numbers_are_those_that_pycocotools_prints():
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    known, said = some()
    ours = score_boxes(known, said, NAMES)
    sets = [COCO(), COCO()]
    rows = [[], []]
    for image, (t, f) in enumerate(zip(known, said, strict=True)):
        for box, label, kind in zip(t.boxes, t.classes, t.kinds, strict=True):
            y, x, b, r = map(float, box)
            row = {"bbox": [x, y, r - x, b - y], "area": (r - x) * (b - y)}
            rows[0].append(row | {"iscrowd": int(kind), "image_id": image,
                                  "category_id": int(label)})  # fmt: skip
        for box, label, score in zip(*f, strict=True):
            y, x, b, r = map(float, box)
            rows[1].append({"bbox": [x, y, r - x, b - y], "score": float(score),
                            "image_id": image, "category_id": int(label)})  # fmt: skip
    sets[0].dataset = {
        "images": [{"id": n} for n in range(len(known))],
        "categories": [{"id": n} for n in range(3)],
        "annotations": [row | {"id": n} for n, row in enumerate(rows[0], 1)],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        sets[0].createIndex()
        scorer = COCOeval(sets[0], sets[0].loadRes(rows[1]), "bbox")
        scorer.evaluate()
        scorer.accumulate()
        scorer.summarize()
    names = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")
    got = [ours.metrics[name] for name in names]
    np.testing.assert_allclose(got, scorer.stats[:6], atol=1e-12)
    assert 0.05 < ours.metrics["ap"] < ours.metrics["ap50"] < 1
    mean = np.mean([row["ap"] for row in ours.by_class.values()])
    np.testing.assert_allclose(mean, ours.metrics["ap"], atol=1e-12)
    np.testing.assert_allclose(ours.precision.mean(), ours.metrics["ap50"], atol=1e-12)


def test_voc_by_hand():
    """Four objects; right, wrong, right, right: precisions 1, 1/2, 2/3, 3/4."""
    right = np.array([True, False, True, True])
    area = 0.25 * (1 + 0.75 + 0.75)
    assert voc_average_precision(right, 4) == pytest.approx(area)
    eleven = (3 * 1 + 5 * 0.75) / 11  # recalls 0, .1, .2; .3 to .7; none above .75
    assert voc_average_precision(right, 4, eleven=True) == pytest.approx(eleven)
    assert voc_average_precision(np.zeros(0, bool), 4) == 0
    exact = np.array([True] * 3 + [False] * 7)
    assert voc_average_precision(exact, 10, eleven=True) == pytest.approx(4 / 11)


def test_voc_matches_the_nearest_object_once_and_passes_over_difficult_ones():
    known = [truth([[0, 0, 10, 10], [20, 20, 30, 30]], [0, 0], [0, 1])]
    said = [
        found(
            [[0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 29], [50, 50, 60, 60]],
            [0, 0, 0, 0],
            [0.8, 0.9, 0.7, 0.6],
        )
    ]
    right, positives = voc_hits(known, said, 0)
    assert positives == 1
    assert right.tolist() == [True, False, False]
    assert voc_hits(known, said, 1)[1] == 0


def test_overlaps_by_hand():
    first = np.array([[0, 0, 2, 2], [5, 5, 5, 5]], np.float32)
    second = np.array([[1, 1, 3, 3], [0, 0, 2, 2]], np.float32)
    np.testing.assert_allclose(overlaps(first, second), [[1 / 7, 1], [0, 0]])


def test_nothing_to_find_is_an_error():
    with pytest.raises(DataError, match="without an object"):
        score_boxes([truth([], [])], [NONE], NAMES)
