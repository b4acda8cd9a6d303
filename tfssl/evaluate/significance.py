"""Is one classifier better than another, and how sure is a number: over test images.

Both speak of the images that happened to be tested, not of how a training might have
come out another time.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

SAMPLES = 100_000
"""Draws of a permutation test, as in SimCLR's appendix B.8."""

RESAMPLES = 1_000
"""Draws of a bootstrap."""

_EXACT = 2**20  # outcomes up to which all are looked at


def permutation_p(
    first: np.ndarray, second: np.ndarray, *, samples: int = SAMPLES, seed: int = 0
) -> float:
    """Returns the two-sided p-value of a paired permutation test.

    Under the null hypothesis the two classifiers may be exchanged on each image: the
    share of all exchanges whose difference of the sums is at least as large as the one
    seen. For right or wrong answers it is McNemar's exact test.

    Args:
      first: `[n]`, what each image adds to the score of one classifier.
      second: `[n]`, of the other, on the same images.
      samples: Exchanges to draw where there are too many to look at all: where images
        add more than a few different amounts.
      seed: Of the draws.
    """
    difference = np.asarray(first, float) - np.asarray(second, float)
    # Rounded, so that equal amounts are one: 1/3 + 1/3 and 2/3.
    difference = np.round(
        difference / max(np.abs(difference).max(initial=0), 1e-300), 9
    )
    amounts, counts = np.unique(np.abs(difference[difference != 0]), return_counts=True)
    seen = abs(float(difference.sum())) - 1e-6
    if np.prod(counts + 1.0) <= _EXACT:
        sums, shares = np.zeros(1), np.ones(1)
        for amount, count in zip(amounts, counts.tolist(), strict=True):
            # Of `count` images with this amount, k favour the first.
            k = np.arange(count + 1)
            sums = (sums[:, None] + amount * (2 * k - count)).ravel()
            shares = (shares[:, None] * _binomial(count)).ravel()
        return float(min(1.0, shares[np.abs(sums) >= seen].sum()))
    rng = np.random.default_rng(seed)
    sums = np.zeros(samples)
    for amount, count in zip(amounts, counts.tolist(), strict=True):
        sums += amount * (2.0 * rng.binomial(count, 0.5, samples) - count)
    return float((1 + (np.abs(sums) >= seen).sum()) / (1 + samples))


def bootstrap(
    counts: np.ndarray,
    measure: Callable[[np.ndarray], float],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float]:
    """Returns the 95 % percentile interval of a measure over resampled images.

    Args:
      counts: int `[k]`: images of each of k kinds that the measure cannot tell apart; a
        cell of a confusion, or one image each.
      measure: Resampled counts `[k]` to a number.
      resamples: Draws of as many images with replacement.
      seed: Of the draws.
    """
    rng = np.random.default_rng(seed)
    total = int(counts.sum())
    shares = counts / total
    found = [measure(rng.multinomial(total, shares)) for _ in range(resamples)]
    low, high = np.percentile(found, (2.5, 97.5))
    return float(low), float(high)


def _binomial(count: int) -> np.ndarray:
    """`[count + 1]`: the shares of 0, 1, … heads in `count` throws."""
    from scipy import stats

    return stats.binom.pmf(np.arange(count + 1), count, 0.5)
