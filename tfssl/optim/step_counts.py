"""Epochs as numbers of updates, as each official code counts and rounds them."""

from __future__ import annotations

from collections.abc import Sequence

from tfssl.errors import unknown


def warmup_steps(examples: int, batch: int, epochs: float) -> int:
    """`round(epochs * examples // batch)`: the floor first, as SimCLR and BYOL do."""
    return int(round(epochs * examples // batch))


def total_steps(examples: int, batch: int, epochs: int, *, rounding: str) -> int:
    """Returns the number of updates in `epochs` passes, as official codes count them.

    Args:
      examples: Training examples.
      batch: Global batch.
      epochs: Passes.
      rounding: `floor`: `examples * epochs // batch` (BYOL); `floor_plus_one`: one more
        (SimCLR); `drop_last`: `epochs * (examples // batch)`, the loader drops the last
        batch of an epoch (MoCo).

    Raises:
      ValueError: Unknown rounding.
    """
    counts = {
        "floor": examples * epochs // batch,
        "floor_plus_one": examples * epochs // batch + 1,
        "drop_last": epochs * (examples // batch),
    }
    if rounding not in counts:
        raise ValueError(unknown("rounding", rounding, counts))
    return int(counts[rounding])


def milestone_steps(
    examples: int, batch: int, epochs: Sequence[float], *, rounding: str
) -> list[int]:
    """Returns the update at which each epoch begins.

    Args:
      examples: Training examples.
      batch: Global batch.
      epochs: Numbers of whole or broken epochs, from 0.
      rounding: As in `total_steps`: `drop_last` counts `examples // batch` updates an
        epoch, the others `warmup_steps` of them.
    """
    if rounding == "drop_last":
        return [round(epoch * (examples // batch)) for epoch in epochs]
    return [warmup_steps(examples, batch, epoch) for epoch in epochs]
