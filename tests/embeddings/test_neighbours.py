"""Exact search in blocks against the whole matrix of cosines."""

import numpy as np
import pytest

from tfssl.embeddings import neighbours
from tfssl.embeddings.neighbours import Exact, of_all_rows, without_self


class Blocks:
    """An array as a table in blocks of one size."""

    def __init__(self, rows, size=7):
        self.rows, self.size = rows, size

    def __len__(self):
        return len(self.rows)

    def blocks(self):
        for i in range(0, len(self.rows), self.size):
            yield i, self.rows[i : i + self.size]


def vectors(n, d=5, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


def slow(queries, rows, k):
    """Every cosine in float64, sorted; of equal ones the earlier row first."""
    q, r = queries.astype(np.float64), rows.astype(np.float64)
    q /= np.linalg.norm(q, axis=1, keepdims=True)
    r /= np.linalg.norm(r, axis=1, keepdims=True)
    cosines = np.round(q @ r.T, 6)
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(cosines, order, axis=1)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(neighbours, "QUERIES", 4)
    monkeypatch.setattr(neighbours, "BLOCK", 10)
    monkeypatch.setattr(neighbours, "LONE", 9)


@pytest.mark.parametrize("n", [1, 3, 10, 40, 401])
@pytest.mark.parametrize("k", [1, 5, 30])
def test_equals_the_whole_matrix(n, k):
    rows, queries = vectors(n), vectors(11, seed=1)
    found, cosines = Exact(Blocks(rows))(queries, k)
    truth, values = slow(queries, rows, k)
    np.testing.assert_array_equal(found, truth)
    np.testing.assert_allclose(cosines, values, atol=2e-6)


def test_length_does_not_matter():
    rows, queries = vectors(60), vectors(9, seed=1)
    scale = np.linspace(0.01, 100, 60, dtype=np.float32)[:, None]
    found, _ = Exact(Blocks(rows * scale))(3 * queries, 4)
    np.testing.assert_array_equal(found, slow(queries, rows, 4)[0])


def test_of_equal_rows_the_earlier_comes_first():
    rows = np.zeros((500, 4), np.float32)
    rows[:, 0] = 1  # 500 copies
    found, _ = Exact(Blocks(rows))(rows[:2], 6)
    np.testing.assert_array_equal(found, [np.arange(6)] * 2)


def test_every_row_finds_its_nearest_others():
    rows = vectors(50)
    truth, _ = slow(rows, rows, 50)
    for own, near, _ in of_all_rows(Blocks(rows), Exact(Blocks(rows)), 3):
        for row, found in zip(own, near, strict=True):
            others = truth[row][truth[row] != row][:3]
            np.testing.assert_array_equal(found, others)


def test_a_query_hidden_by_equal_rows_loses_the_last_neighbour():
    own = np.array([9, 1])
    rows = np.array([[1, 2, 3], [1, 5, 6]])
    kept, _ = without_self(own, rows, np.ones((2, 3), np.float32))
    np.testing.assert_array_equal(kept, [[1, 2], [5, 6]])
