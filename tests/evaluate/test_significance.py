"""Permutation test against every exchange, bootstrap against a known spread."""

import itertools

import numpy as np
import pytest
from scipy.stats import binomtest

from tfssl.evaluate.significance import bootstrap, permutation_p


def every_exchange(first, second):
    """Share of all exchanges at least as far apart as what was seen."""
    difference = np.asarray(first, float) - np.asarray(second, float)
    seen = abs(difference.sum()) - 1e-9
    signs = itertools.product((-1, 1), repeat=len(difference))
    return np.mean([abs(np.dot(s, difference)) >= seen for s in signs])


AMOUNTS = {
    "right or wrong": lambda rng, n: rng.integers(0, 2, n),
    "mean per class": lambda rng, n: rng.integers(0, 2, n) / rng.choice([3, 5, 7], n),
    "several labels": lambda rng, n: rng.integers(0, 4, n) / 3,
    "anything": lambda rng, n: rng.normal(size=n),
}


@pytest.mark.parametrize("kind", AMOUNTS)
def test_equals_every_exchange(kind, monkeypatch):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        first, second = AMOUNTS[kind](rng, 12), AMOUNTS[kind](rng, 12)
        want = every_exchange(first, second)
        assert permutation_p(first, second) == pytest.approx(want)
        assert permutation_p(first / 5e4, second / 5e4) == pytest.approx(want)
        with monkeypatch.context() as patch:
            patch.setattr("tfssl.evaluate.significance._EXACT", 0)
            assert permutation_p(first, second) == pytest.approx(want, abs=0.01)


def test_of_right_and_wrong_it_is_mcnemars():
    rng = np.random.default_rng(0)
    first, second = rng.random(10_000) < 0.71, rng.random(10_000) < 0.70
    b, c = (first & ~second).sum(), (~first & second).sum()
    assert permutation_p(first, second) == pytest.approx(binomtest(b, b + c).pvalue)


def test_equal_answers_are_not_different():
    assert permutation_p(np.ones(5), np.ones(5)) == 1
    assert permutation_p(np.ones(9), np.zeros(9)) == pytest.approx(2 / 2**9)


def test_bootstrap_of_a_share():
    """Of 400 images with 80 right, a deviation of sqrt(.2 * .8 / 400) = .02."""
    low, high = bootstrap(np.array([80, 320]), lambda c: c[0] / c.sum())
    assert low == pytest.approx(0.2 - 1.96 * 0.02, abs=0.006)
    assert high == pytest.approx(0.2 + 1.96 * 0.02, abs=0.006)
    assert bootstrap(np.array([80, 320]), lambda c: c[0] / c.sum()) == (low, high)
