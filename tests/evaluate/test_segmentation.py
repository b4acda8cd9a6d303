"""Scores of masks against slow NumPy, scikit-learn and cases worked by hand."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, jaccard_score

from tfssl.errors import DataError
from tfssl.evaluate.segmentation import PixelCounts, by_class

CLASSES = 5


def masks(seed, ignored=0.2):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, CLASSES - 1, (9, 7), np.uint8)  # class 4 is nowhere
    said = rng.integers(0, CLASSES - 1, (9, 7), np.uint8)
    truth[rng.random(truth.shape) < ignored] = 255
    return truth, said


def counted(pairs):
    counts = PixelCounts(CLASSES)
    for pair in pairs:
        counts.add(*pair)
    return counts


def test_equals_scikit_learn_and_one_pixel_at_a_time():
    pairs = [masks(seed) for seed in range(4)]
    counts = counted(pairs)
    truth = np.concatenate([t.ravel() for t, _ in pairs])
    said = np.concatenate([s.ravel() for _, s in pairs])
    known = truth != 255
    table = confusion_matrix(truth[known], said[known], labels=range(CLASSES))
    np.testing.assert_array_equal(counts.matrix, table)
    slow = np.zeros((CLASSES, CLASSES), int)
    for t, s in zip(truth, said, strict=True):
        if t != 255:
            slow[t, s] += 1
    np.testing.assert_array_equal(counts.matrix, slow)
    metrics = counts.metrics()
    want = jaccard_score(truth[known], said[known], average="macro")
    assert metrics["miou"] == pytest.approx(want)
    assert metrics["pixel_accuracy"] == pytest.approx((truth == said)[known].mean())
    recall = [(said[truth == c] == c).mean() for c in range(CLASSES - 1)]
    assert metrics["mean_accuracy"] == pytest.approx(np.mean(recall))


def test_worked_by_hand():
    truth = np.array([[0, 0, 1], [1, 255, 1]], np.uint8)
    said = np.array([[0, 1, 1], [2, 0, 1]], np.uint8)
    counts = counted([(truth, said)])
    # 0: 1 of 2; 1: 2 of 4; 2: said once, never there; 3 and 4: neither.
    found = counts.intersection_over_union()
    np.testing.assert_array_equal(found, [1 / 2, 2 / 4, 0, np.nan, np.nan])
    assert counts.metrics() == pytest.approx(
        {"miou": 1 / 3, "pixel_accuracy": 3 / 5, "mean_accuracy": (1 / 2 + 2 / 3) / 2}
    )
    names = [f"c{n}" for n in range(CLASSES)]
    assert [c.iou for c in by_class(counts, names)] == [0.5, 0.5, 0, None, None]
    assert [c.pixels for c in by_class(counts, names)] == [2, 3, 0, 0, 0]
    confusion = counts.confusion(names)
    assert confusion.per_class()["images"].tolist() == [2, 3, 0, 0, 0]


def test_a_perfect_predictor_has_one_and_a_wrong_one_none():
    truth, _ = masks(0)
    perfect = counted([(truth, np.where(truth == 255, 0, truth))]).metrics()
    assert set(perfect.values()) == {1.0}
    wrong = counted([(truth, np.where(truth == 255, 0, (truth + 1) % CLASSES))])
    assert set(wrong.metrics().values()) == {0.0}


def test_what_cannot_be_scored_is_refused():
    counts = PixelCounts(CLASSES)
    counts.add(np.full((2, 2), 255), np.zeros((2, 2), int))
    with pytest.raises(DataError, match="1 images without a pixel"):
        counts.metrics()
    with pytest.raises(DataError, match=r"\(2, 2\)"):
        counts.add(np.zeros((2, 2), int), np.zeros((2, 3), int))
    for truth, said in ((7, 0), (0, 7)):
        with pytest.raises(DataError, match="classes 0 to 7"):
            counts.add(np.full((1, 1), truth), np.full((1, 1), said))
