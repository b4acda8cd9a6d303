"""Average precision: the score where an image may have several labels."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from tfssl.errors import DataError, message
from tfssl.evaluate.significance import bootstrap

_LEVELS = np.arange(11) / 10
_Curve = Callable[[np.ndarray], float]


def mean_average_precision(
    scores: np.ndarray, targets: np.ndarray, *, interval: bool = True
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """Averages over the classes that an image has.

    `map_11` is VOC 2007's: the mean over the recalls 0, .1, … 1 of the highest
    precision at that recall or beyond, 0 where it is not reached (Everingham et al.
    2010, section 4.2).

    Args:
      scores: float `[n, C]`; of equal ones the first row comes first.
      targets: int8 `[n, C]`: 1 has the label, 0 has it not, -1 does not count (VOC's
        "difficult").
      interval: Whether to bootstrap.

    Returns:
      `map_11` (11 points) and `map` (every recall, the area under the curve); and
      their 95 % intervals, by a bootstrap over images.

    Raises:
      DataError: No image has a label.
    """
    found: list[tuple[np.ndarray, tuple[_Curve, _Curve]]] = []
    for c in range(targets.shape[1]):
        counted = np.flatnonzero(targets[:, c] >= 0)
        if (targets[:, c] == 1).any():
            curve = _curve(scores[counted, c], targets[counted, c])
            found.append((counted, curve))
    if not found:
        raise DataError(
            message(
                f"{len(targets)} images without any label to score",
                "images with labels",
                "another split",
            )
        )

    def mean(which: int, weights: np.ndarray) -> float:
        parts = [curve[which](weights[rows]) for rows, curve in found]
        # In a resample a class may have no image; it says nothing then.
        return float(np.nanmean(parts))

    metrics: dict[str, float] = {}
    intervals: dict[str, tuple[float, float]] = {}
    one_each = np.ones(len(targets), np.int64)
    for which, name in enumerate(("map_11", "map")):
        measure = functools.partial(mean, which)
        metrics[name] = measure(one_each)
        if interval:
            intervals[name] = bootstrap(one_each, measure, resamples=200)
    return metrics, intervals


def _curve(scores: np.ndarray, targets: np.ndarray) -> tuple[_Curve, _Curve]:
    """Functions of how often each row counts, to AP by 11 points and by all."""
    # For as many classes as there are: half the memory of NumPy's own.
    order = np.argsort(-scores, kind="stable").astype(np.int32)
    right = targets[order] == 1

    def ranked(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        weights = weights[order]
        hits = np.cumsum(weights * right)
        with np.errstate(invalid="ignore"):
            precision = hits / np.cumsum(weights)
        return (hits / hits[-1] if hits[-1] else hits * np.nan), precision

    def eleven(weights: np.ndarray) -> float:
        recall, precision = ranked(weights)
        if np.isnan(recall[-1]):
            return float("nan")
        # Highest precision here or further down; nan where nothing was counted yet.
        best = np.maximum.accumulate(np.nan_to_num(precision)[::-1])[::-1]
        place = np.searchsorted(recall, _LEVELS - 1e-12)
        return float(np.append(best, 0.0)[place].mean())

    def area(weights: np.ndarray) -> float:
        recall, precision = ranked(weights)
        steps = np.diff(recall, prepend=0.0)
        return float((steps * np.nan_to_num(precision)).sum())

    return eleven, area
