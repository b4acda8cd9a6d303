"""Average precision against cases worked by hand, and scikit-learn's."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from tfssl.errors import DataError
from tfssl.evaluate.average_precision import mean_average_precision


def average_precision(scores, targets):
    """Of one class."""
    metrics, _ = mean_average_precision(
        scores[:, None], targets[:, None], interval=False
    )
    return metrics["map_11"]


def test_eleven_points_by_hand():
    # Ranked: right, wrong, right, wrong, wrong, right. Precision 1, 1/2, 2/3, 2/4, 2/5,
    # 3/6 at recalls 1/3, 1/3, 2/3, 2/3, 2/3, 1. The best at recall 0 to .3 is 1, at .4
    # to .6 it is 2/3, at .7 to 1 it is 1/2.
    scores = np.array([0.1, 0.9, 0.8, 0.7, 0.3, 0.2])
    targets = np.array([1, 1, 0, 1, 0, 0])
    want = (4 * 1 + 3 * 2 / 3 + 4 * 1 / 2) / 11
    assert average_precision(scores, targets) == pytest.approx(want)


def test_difficult_ones_count_neither_for_nor_against():
    scores = np.array([0.95, 0.1, 0.9, 0.8, 0.7, 0.3, 0.2])
    targets = np.array([-1, 1, 1, 0, 1, 0, 0])
    assert average_precision(scores, targets) == pytest.approx(8 / 11)


def test_all_right_and_all_wrong():
    assert average_precision(np.array([3.0, 2, 1]), np.array([1, 1, 0])) == 1
    # The one right answer is last of four: 1/4 at each recall.
    last = average_precision(np.array([4.0, 3, 2, 1]), np.array([0, 0, 0, 1]))
    assert last == pytest.approx(0.25)
    with pytest.raises(DataError, match="without any label"):
        average_precision(np.zeros(3), np.array([0, 0, -1]))


def test_means_and_intervals():
    rng = np.random.default_rng(0)
    targets = (rng.random((200, 4)) < 0.3).astype(np.int8)
    targets[:, 3] = 0  # no image has it: it is not in the mean
    scores = targets + rng.normal(size=targets.shape)
    metrics, intervals = mean_average_precision(scores, targets)
    each = [average_precision(scores[:, c], targets[:, c]) for c in range(3)]
    assert metrics["map_11"] == pytest.approx(np.mean(each))
    area = [average_precision_score(targets[:, c], scores[:, c]) for c in range(3)]
    assert metrics["map"] == pytest.approx(np.mean(area))
    for name, (low, high) in intervals.items():
        assert low < metrics[name] < high and high - low < 0.2
    assert mean_average_precision(scores, targets, interval=False)[1] == {}
    with pytest.raises(DataError, match="without any label"):
        mean_average_precision(scores, targets * 0)
