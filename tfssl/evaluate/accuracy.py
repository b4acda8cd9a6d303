"""Accuracy of classifiers."""

from __future__ import annotations

import numpy as np


def top_k(logits: np.ndarray, labels: np.ndarray, k: int) -> float:
    """Share of rows whose label is among the k highest logits.

    Args:
      logits: `[n, classes]`.
      labels: `[n]`, integers in [0, classes).
      k: In [1, classes].

    Returns:
      A number in [0, 1].
    """
    best = np.argpartition(-logits, k - 1, axis=-1)[:, :k]
    return float((best == labels[:, None]).any(-1).mean())
