"""Duplicates, outliers and retrieval scores on tables one can check by hand."""

import numpy as np
import pytest

from tests.embeddings.test_neighbours import Blocks, vectors
from tfssl.embeddings import similarity
from tfssl.embeddings.neighbours import Exact
from tfssl.embeddings.similarity import duplicates, loneliness, retrieval
from tfssl.errors import DataError


def angles(*degrees):
    """Unit vectors of the plane."""
    radians = np.deg2rad(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


@pytest.mark.parametrize("side", [2, 5, 1000])
@pytest.mark.parametrize("indexed", [False, True])
def test_pairs_and_groups_by_hand(side, indexed, monkeypatch):
    monkeypatch.setattr(similarity, "SIDE", side)
    # 0, 10 and 20 degrees are a chain of neighbours; 90 and 95 a pair; 180 is alone.
    table = Blocks(angles(90, 0, 180, 10, 95, 20), 2)
    search = Exact(table) if indexed else None
    found = duplicates(table, np.cos(np.deg2rad(12)), search)
    assert found.pairs.tolist() == [[0, 4], [1, 3], [3, 5]]
    np.testing.assert_allclose(found.cosines, np.cos(np.deg2rad([5, 10, 10])), 1e-6)
    assert [group.tolist() for group in found.groups] == [[1, 3, 5], [0, 4]]


@pytest.mark.parametrize("n", [1, 30, 211])
def test_every_pair_of_a_random_table(n, monkeypatch):
    monkeypatch.setattr(similarity, "SIDE", 16)
    rows = vectors(n, 3)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    left, right = np.nonzero(np.triu(unit @ unit.T >= 0.9, 1))
    found = duplicates(Blocks(rows), 0.9)
    assert found.pairs.tolist() == np.stack([left, right], 1).tolist()


def test_nothing_alike():
    found = duplicates(Blocks(np.eye(4, dtype=np.float32)), 0.5)
    assert len(found.pairs) == 0 and found.groups == []


def test_too_many_pairs_are_refused(monkeypatch):
    monkeypatch.setattr(similarity, "MOST_PAIRS", 100)
    with pytest.raises(DataError, match="collapsed"):
        duplicates(Blocks(np.ones((50, 3), np.float32)), 0.9)


def test_the_loneliest_is_far_from_all():
    rows = angles(0, 10, 20, 180)
    found = loneliness(Blocks(rows), Exact(Blocks(rows)), 2)
    first = 1 - (np.cos(np.deg2rad(10)) + np.cos(np.deg2rad(20))) / 2
    middle = 1 - np.cos(np.deg2rad(10))
    last = 1 - (np.cos(np.deg2rad(160)) + np.cos(np.deg2rad(170))) / 2
    np.testing.assert_allclose(found, [first, middle, first, last], atol=1e-6)


def test_fewer_rows_than_neighbours():
    rows = angles(0, 90)
    found = loneliness(Blocks(rows), Exact(Blocks(rows)), 10)
    np.testing.assert_allclose(found, [1, 1], atol=1e-6)


@pytest.mark.parametrize("answers", [similarity.ANSWERS, 9, 1])
def test_retrieval_by_hand(monkeypatch, answers):
    monkeypatch.setattr(similarity, "ANSWERS", answers)  # queries at once
    # From 0 degrees outwards: a b a a | b; labels of the rows at 0 7 15 24 40 degrees.
    rows = angles(0, 7, 15, 24, 40)
    labels = np.array([0, 1, 0, 0, 1])
    own = np.arange(5)
    found = retrieval(rows, own, labels, Exact(Blocks(rows)), ks=(1, 2, 3))
    # Neighbours' labels, and R others of the class:
    #  0: b a a b  R=2: P@i*rel (0, 1/2) -> 1/4; R-precision 1/2
    #  7: a a a b  R=1: 0
    # 15: b a a b  (7 is 8 away, 24 is 9 away) R=2: (0, 1/2) -> 1/4; 1/2
    # 24: a b b a  (15, then 40 is 16 away, 7 is 17 away) R=2: (1, 0) -> 1/2; 1/2
    # 40: a a b a  R=1: 0
    assert found.map_at_r == pytest.approx((1 / 4 + 1 / 4 + 1 / 2) / 5)
    assert found.r_precision == pytest.approx((1 / 2 + 1 / 2 + 1 / 2) / 5)
    assert found.recall == pytest.approx({1: 1 / 5, 2: 3 / 5, 3: 4 / 5})
    assert found.queries == 5


def test_queries_without_a_label_or_without_another_of_their_class_are_left_out():
    rows = angles(0, 5, 50, 90)
    labels = np.array([1, 1, 0, -1])
    found = retrieval(rows, np.arange(4), labels, Exact(Blocks(rows)), ks=(1,))
    assert (found.queries, found.map_at_r, found.recall) == (2, 1.0, {1: 1.0})


def test_no_labels():
    rows = angles(0, 5)
    with pytest.raises(DataError, match="labels"):
        retrieval(rows, np.arange(2), np.array([-1, -1]), Exact(Blocks(rows)))
