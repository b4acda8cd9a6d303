"""Signals of collapse on features whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from tfssl.errors import DataError
from tfssl.evaluate import collapse_signals, verdict


def test_even_spread_has_std_one_and_full_rank():
    features = np.random.default_rng(0).normal(size=(4000, 32))
    got = collapse_signals(features * 100)
    assert got.mean_std == pytest.approx(1, abs=0.02)
    assert got.effective_rank == pytest.approx(32, rel=0.02)
    assert got.duplicates == 0
    assert verdict(got).startswith("No sign of collapse")
    assert got.as_dict()["healthy"] is True


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_effective_rank_counts_equal_directions(rank):
    # `rank` orthogonal directions, equally often: all singular values are equal.
    features = np.repeat(np.eye(40)[:rank], 20, axis=0)
    got = collapse_signals(features)
    assert got.effective_rank == pytest.approx(rank, rel=1e-6)
    assert got.dimension == 40


def test_effective_rank_is_the_entropy_of_the_singular_values():
    features = np.random.default_rng(1).normal(size=(30, 50)) + 1
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    s = np.linalg.svd(unit, compute_uv=False)
    p = s / s.sum()
    expected = np.exp(-np.sum(p * np.log(p)))
    assert collapse_signals(features).effective_rank == pytest.approx(expected)


def test_near_duplicates_are_counted_as_pairs():
    rng = np.random.default_rng(2)
    features = rng.normal(size=(50, 64))
    features[:10] = features[0] * rng.uniform(0.5, 2, (10, 1))
    expected = (10 * 9 / 2) / (50 * 49 / 2)
    assert collapse_signals(features).duplicates == pytest.approx(expected)


@pytest.mark.parametrize(
    ("features", "words"),
    [
        (np.ones((64, 32)) + 1e-4 * np.random.default_rng(3).normal(size=(64, 32)),
         "hardly change"),
        (np.zeros((64, 32)), "hardly change"),
        (np.random.default_rng(4).normal(size=(500, 1)) * np.ones((1, 128)),
         "directions"),
        (np.repeat(np.eye(32)[:3], 30, axis=0), "almost the same"),
    ],
)  # fmt: skip
def test_collapse_is_said_in_plain_words(features, words):
    got = collapse_signals(features)
    assert words in verdict(got)
    assert "look collapsed" in verdict(got)
    assert got.as_dict()["healthy"] is False


def test_one_row_is_refused():
    with pytest.raises(DataError, match="two images"):
        collapse_signals(np.ones((1, 8)))
