"""Dense tasks from several starts and seeds: the trainings of their table. Layer 0."""

from __future__ import annotations

import dataclasses
import re

from tfssl.config.config import Config, modes
from tfssl.config.flag import specs_of
from tfssl.config.groups import Network
from tfssl.config.tasks import TASKS

RANDOM = "random"
"""The start that has learned nothing."""

WEIGHTS = {"detect": "detect_weights", "segment": "segment_weights"}
"""Dense modes to the flag that says what their encoder begins with."""

_LONGEST = 100


def is_table(config: Config) -> bool:
    """Returns True where a command asks for a table over starts or seeds."""
    return bool(config.dense_runs) or config.dense_seeds > 1


def starts(config: Config, mode: str) -> tuple[str, ...]:
    """Returns what a mode begins with: paths of runs, or `RANDOM`."""
    if config.dense_runs:
        return config.dense_runs
    random = getattr(config, WEIGHTS[mode]) == "random"
    return (RANDOM if random else config.init_from or config.run_dir,)


def from_first(config: Config) -> Config:
    """Returns a command about the first run of `--dense_runs`.

    Flags that it does not give are that run's, `random` is its network. Where all
    begin from random weights there is none.
    """
    asked = [mode for mode in modes(config) if mode in WEIGHTS]
    if not config.dense_runs or not asked:
        return config
    runs = [start for start in config.dense_runs if start != RANDOM]
    known: dict[str, str] = {"init_from": runs[0] if runs else ""}
    if not runs:
        known |= {WEIGHTS[mode]: "random" for mode in asked}
    return dataclasses.replace(config, **known)  # type: ignore[arg-type]


def cell_name(start: str, seed: int) -> str:
    """Returns the name of a training's folder, such as `"runs_a-seed-0"`."""
    words = re.sub(r"[^\w.-]+", "_", start.rstrip("/")).strip("_.")
    return f"{words[-_LONGEST:]}-seed-{seed}"


def cell(
    config: Config, mode: str, start: str, seed: int, stored: Config | None
) -> Config:
    """Returns the flags of one training of the table.

    Args:
      config: The command's.
      mode: A key of `WEIGHTS`.
      start: One of `starts`.
      seed: Of the training: of the new weights, the order and the views.
      stored: The flags of the run that it begins from: the network is that run's, the
        task the command's. None: of random weights.
    """
    shared = TASKS[mode].flags() - set(specs_of(Network)) - {"augment"}
    values = {name: getattr(config, name) for name in shared}
    values |= {
        "mode": mode,
        "seed": seed,
        "run_dir": f"{config.run_dir.rstrip('/')}/{mode}_runs/{cell_name(start, seed)}",
        "init_from": "" if start == RANDOM else start,
        WEIGHTS[mode]: "random" if start == RANDOM else "trained",
        "dense_runs": (),
        "dense_seeds": 1,
    }
    return dataclasses.replace(stored or config, **values)
