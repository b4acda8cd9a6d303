"""Validation images and few shots: every class is there, and always the same ones."""

import numpy as np
import pytest

from tfssl.data.folds import shots, validation_rows, validation_rows_of_several
from tfssl.data.source import Several
from tfssl.errors import DataError

NAMES = tuple("abcdef")


@pytest.mark.parametrize(
    ("sizes", "count"), [((10, 10, 10), 3), ((2, 3, 900), 90), ((30,) * 6, 30)]
)
def test_every_class_is_in_both_parts_in_proportion(sizes, count):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    labels = np.append(labels, [-1] * 5)
    ids = np.random.default_rng(0).permutation(10_000)[: len(labels)]
    rows = validation_rows(labels, ids, count, NAMES, "it")
    there, left = (np.bincount(labels[p & (labels >= 0)]) for p in (rows, ~rows))
    assert (there >= 1).all() and (left >= 1).all() and not rows[labels < 0].any()
    assert rows.sum() == pytest.approx(count, abs=len(sizes))
    share = np.array(sizes) * count / sum(sizes)
    assert (np.abs(there - np.maximum(share, 1)) <= 1).all()
    # Whatever the order of the files.
    order = np.random.default_rng(1).permutation(len(labels))
    again = validation_rows(labels[order], ids[order], count, NAMES, "it")
    np.testing.assert_array_equal(again, rows[order])


def test_the_papers_sizes_are_met_exactly():
    """Pets: 740 of 3,680 in 37 classes of different sizes; Caltech: 5 of 30."""
    sizes = np.full(37, 99)
    sizes[:17] += 1
    labels = np.repeat(np.arange(37), sizes)
    names = tuple(map(str, range(102)))
    assert validation_rows(labels, np.arange(3_680), 740, names, "").sum() == 740
    labels = np.repeat(np.arange(102), 30)
    rows = validation_rows(labels, np.arange(3_060), 510, names, "")
    assert (np.bincount(labels[rows]) == 5).all()


def test_a_class_with_one_image_is_named():
    with pytest.raises(DataError, match="too few images of b, d in it"):
        validation_rows(np.array([0, 0, 1, 2, 2, 3]), np.arange(6), 2, NAMES, "it")


def test_several_labels():
    rng = np.random.default_rng(0)
    several = Several((rng.random((60, 3)) < 0.4).astype(np.int8), NAMES[:3])
    rows = validation_rows_of_several(several, np.arange(60), 20, "it")
    assert rows.sum() == 20
    several.targets[:, 1] = 0
    several.targets[rows.argmax(), 1] = 1
    with pytest.raises(DataError, match="too few images of b"):
        validation_rows_of_several(several, np.arange(60), 20, "it")


def test_shots():
    labels = np.repeat([0, 1, 2, -1], 8)
    ids = np.arange(32) * 7
    draws = [shots(labels, ids, 3, draw) for draw in range(4)]
    for rows in draws:
        assert np.bincount(labels[rows]).tolist() == [3, 3, 3]
    assert len({tuple(rows) for rows in draws}) == 4
    np.testing.assert_array_equal(draws[1], shots(labels, ids, 3, 1))
