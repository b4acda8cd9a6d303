"""Learning curves: several label fractions and seeds in one command."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfssl.config.config import Config


def fractions(value: float | str) -> list[float | str]:
    """Returns what `--label_fraction` holds: a list of numbers, or the one value."""
    parts = value.split(",") if isinstance(value, str) else []
    try:
        return [float(part) for part in parts] if len(parts) > 1 else [value]
    except ValueError:
        return [value]  # a file's name may hold commas


def is_curve(config: Config) -> bool:
    """Returns True where a command asks for a learning curve."""
    return config.label_seeds > 1 or len(fractions(config.label_fraction)) > 1


def cells(config: Config) -> dict[str, Config]:
    """Returns the points of a learning curve: folder name to flags.

    Each has one fraction and one seed, which draws the labels and begins the training;
    the first is the command's.
    """
    found = {}
    for fraction in fractions(config.label_fraction):
        for seed in range(config.seed, config.seed + config.label_seeds):
            one = {"label_fraction": fraction, "label_seeds": 1, "seed": seed}
            cell = dataclasses.replace(config, **one)  # type: ignore[arg-type]
            name = os.path.basename(cell.text("label_fraction"))
            found[f"{name}-seed-{seed}"] = cell
    return found
