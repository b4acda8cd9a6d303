"""Signals of collapse: does the encoder still tell images apart?

A method without negatives can reach a low loss by giving every image the same
features. The loss does not show it; these three numbers do.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from tfssl.errors import DataError, message

# Evenly spread rows are enough for all three and keep the cost below seconds.
MOST_ROWS = 4_096
MOST_ROWS_IN_PAIRS = 2_048
NEAR_DUPLICATE = 0.99


@dataclasses.dataclass(frozen=True)
class CollapseSignals:
    """How much of the feature space is in use.

    Attributes:
      std: float64 `[F]`, standard deviation of each dimension of the l2-normalised
        features, times sqrt(F). 1 on average for features spread evenly over the
        sphere, 0 when all images have the same (SimSiam, section 4.1,
        https://arxiv.org/abs/2011.10566). A shared offset, as features after a
        ReLU have, brings healthy ones down to 0.3 to 0.9.
      effective_rank: exp(entropy of the singular values divided by their sum), 1 to
        min(rows, F) (Roy and Vetterli 2007; RankMe,
        https://arxiv.org/abs/2210.02885). Of the features as they are, not centred.
      duplicates: Share of pairs of different images with a cosine above 0.99, 0 to 1.
      dimension: F.
      rows: Images that the numbers rest on.
    """

    std: np.ndarray
    effective_rank: float
    duplicates: float
    dimension: int
    rows: int

    @property
    def mean_std(self) -> float:
        """Mean of `std` over the dimensions, 0 to 1."""
        return float(self.std.mean())

    def as_dict(self) -> dict[str, Any]:
        """All of it with the verdict, as the report takes it."""
        return {
            "std": self.std,
            "mean_std": self.mean_std,
            "effective_rank": self.effective_rank,
            "duplicates": self.duplicates,
            "dimension": self.dimension,
            "rows": self.rows,
            "verdict": verdict(self),
            "healthy": not problems(self),
        }


def collapse_signals(features: np.ndarray) -> CollapseSignals:
    """Measures the signals on features of different images.

    Args:
      features: `[n, F]`, n >= 2, as the encoder gives them. At most 4,096 evenly
        spaced rows are looked at (2,048 for the pairs).

    Returns:
      The signals.

    Raises:
      DataError: Fewer than two rows.
    """
    if features.ndim != 2 or len(features) < 2:
        raise DataError(
            message(
                f"features of shape {features.shape}",
                "[n, F] with at least two images",
                "a larger evaluation split",
            )
        )
    rows = np.asarray(_spread(features, MOST_ROWS), np.float64)
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = rows / np.maximum(norm, 1e-12)
    dimension = unit.shape[1]
    return CollapseSignals(
        std=unit.std(axis=0) * np.sqrt(dimension),
        effective_rank=_effective_rank(unit),
        duplicates=_duplicates(_spread(unit, MOST_ROWS_IN_PAIRS)),
        dimension=dimension,
        rows=len(unit),
    )


def problems(signals: CollapseSignals) -> list[str]:
    """The signals that look bad, one clause each; empty when none does.

    The bounds are ours: far below what trained encoders show, so that what is said
    is worth acting on.
    """
    found = []
    if signals.mean_std < 0.05:
        found.append(
            "the features hardly change from image to image (mean deviation "
            f"{signals.mean_std:.3f} where an even spread gives 1)"
        )
    possible = min(signals.rows, signals.dimension)
    # Small tables have little rank to lose; 16 keeps toy encoders out of this.
    if possible >= 16 and signals.effective_rank < max(2.0, 0.02 * possible):
        found.append(
            f"only about {signals.effective_rank:.1f} of {possible} directions are "
            "in use (effective rank)"
        )
    if signals.duplicates > 0.2:
        found.append(
            f"{signals.duplicates:.0%} of the pairs of different images have almost "
            "the same features"
        )
    return found


def verdict(signals: CollapseSignals) -> str:
    """Says in one plain sentence whether the features look collapsed."""
    found = problems(signals)
    if not found:
        return (
            "No sign of collapse: the features differ from image to image and use "
            f"about {signals.effective_rank:.0f} of {signals.dimension} directions."
        )
    return (
        "The features look collapsed: "
        + "; ".join(found)
        + ". An encoder that has hardly been trained looks like this too; later in a "
        "run, try a lower learning rate, a longer warm-up or a larger batch."
    )


def _spread(rows: np.ndarray, most: int) -> np.ndarray:
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).astype(int)]


def _effective_rank(unit: np.ndarray) -> float:
    # The Gram matrix of the shorter side has the squared singular values.
    gram = unit @ unit.T if len(unit) < unit.shape[1] else unit.T @ unit
    singular = np.sqrt(np.clip(np.linalg.eigvalsh(gram), 0, None))
    total = singular.sum()
    if total == 0:
        return 1.0
    share = singular / total
    share = share[share > 1e-12]
    return float(np.exp(-(share * np.log(share)).sum()))


def _duplicates(unit: np.ndarray) -> float:
    cosines = unit @ unit.T
    # Features of all zeros have cosine 0 with each other but are as collapsed.
    dead = ~np.asarray(unit.any(axis=1))
    close = (cosines > NEAR_DUPLICATE) | (dead[:, None] & dead[None, :])
    pairs = len(unit) * (len(unit) - 1)
    return float((close.sum() - np.trace(close)) / pairs)
