"""Neighbours and a flat map of features, for pictures in the report."""

from __future__ import annotations

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

# Beyond it t-SNE takes minutes, PCA a moment.
MOST_FOR_TSNE = 2_000


def unit(features: np.ndarray) -> np.ndarray:
    """Divides each row by its l2 norm; a row of zeros stays."""
    features = np.asarray(features, np.float64)
    norm = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.maximum(norm, 1e-12))


def choose_queries(labels: np.ndarray | None, count: int, rows: int) -> np.ndarray:
    """Picks images to look at: spread over the classes, the same on every call.

    Args:
      labels: int `[rows]` or None.
      count: At most so many.
      rows: Number of images.

    Returns:
      Row numbers, at most `count`, each once.
    """
    order = np.random.default_rng(0).permutation(rows)
    if labels is None:
        return order[:count]
    seen: dict[int, int] = {}
    turn = np.empty(rows, int)
    for row in order:
        turn[row] = seen.get(int(labels[row]), 0)
        seen[int(labels[row])] = turn[row] + 1
    # First one of every class, then a second one of every class, …
    picked = order[np.argsort(turn[order], kind="stable")][:count]
    return picked[np.argsort(labels[picked], kind="stable")]


def neighbours(
    features: np.ndarray, queries: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest other images of each query by cosine.

    Args:
      features: `[n, F]`.
      queries: int `[q]`, rows of `features`.
      count: Neighbours, cut to n - 1.

    Returns:
      Rows int `[q, count]`, nearest first, and their cosines `[q, count]`.
    """
    normed = unit(features)
    cosines = normed[queries] @ normed.T
    cosines[np.arange(len(queries)), queries] = -np.inf
    rows = np.argsort(-cosines, axis=1, kind="stable")
    rows = rows[:, : min(count, len(features) - 1)]
    return rows, np.take_along_axis(cosines, rows, axis=1)


def flat_map(features: np.ndarray) -> tuple[np.ndarray, str]:
    """Lays the l2-normalised features out in the plane.

    t-SNE (van der Maaten and Hinton 2008) of the first 50 principal components up to
    2,000 rows, the first two principal components beyond.

    Args:
      features: `[n, F]`, n >= 5.

    Returns:
      float64 `[n, 2]` and the name of the method.
    """
    normed = unit(features)
    rows, width = normed.shape
    if not np.ptp(normed, axis=0).max(initial=0) > 1e-9:
        # All features equal: both methods would divide by zero.
        return np.zeros((rows, 2)), "PCA"
    if rows > MOST_FOR_TSNE:
        return _principal(normed, 2), "PCA"
    reduced = _principal(normed, min(50, rows, width))
    perplexity = min(30.0, (rows - 1) / 3)
    tsne = TSNE(2, perplexity=perplexity, init="random", random_state=0)
    # Its threads wait for each other at every one of 1,000 steps: on a machine that
    # also trains, two take twenty times as long as one.
    with threadpool_limits(limits=1):
        return tsne.fit_transform(reduced), "t-SNE"


def _principal(rows: np.ndarray, count: int) -> np.ndarray:
    points = PCA(min(count, *rows.shape), random_state=0).fit_transform(rows)
    missing = count - points.shape[1]
    return np.pad(points, ((0, 0), (0, missing)))
