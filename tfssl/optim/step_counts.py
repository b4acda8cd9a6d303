"""Epochs as numbers of updates, as each official code counts and rounds them."""

from __future__ import annotations

from collections.abc import Sequence

from tfssl.errors import unknown


def warmup_steps(examples: int, batch: int, epochs: float) -> int:
    """`round(epochs * examples // batch)`: the floor first, as SimCLR and BYOL do."""
    return int(round(epochs * examples // batch))


def total_steps(examples: int, batch: int, epochs: int, *, family: str) -> int:
    """Number of updates in `epochs` passes, as each official code counts them.

    Args:
      examples: Training examples.
      batch: Global batch.
      epochs: Passes.
      family: `simclr`: `examples * epochs // batch + 1`; `byol`: without the 1;
        `moco`: `epochs * (examples // batch)`, the loader drops the last batch.

    Raises:
      ValueError: Unknown family.
    """
    counts = {
        "byol": examples * epochs // batch,
        "moco": epochs * (examples // batch),
        "simclr": examples * epochs // batch + 1,
    }
    if family not in counts:
        raise ValueError(unknown("family", family, counts))
    return int(counts[family])


def milestone_steps(
    examples: int, batch: int, epochs: Sequence[float], *, family: str
) -> list[int]:
    """The update at which each epoch begins.

    Args:
      examples: Training examples.
      batch: Global batch.
      epochs: Numbers of whole or broken epochs, from 0.
      family: As in `total_steps`: `moco` counts `examples // batch` updates an epoch,
        the others `warmup_steps` of them.
    """
    if family == "moco":
        return [round(epoch * (examples // batch)) for epoch in epochs]
    return [warmup_steps(examples, batch, epoch) for epoch in epochs]
