"""A dense task from several starts and seeds: what pre-training is worth there."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from tfssl import build
from tfssl.build import detection, segmentation, trained
from tfssl.config import Config
from tfssl.config.dense_cells import RANDOM, cell, is_table, starts
from tfssl.config.inherit import stored_config
from tfssl.config.rules import validate
from tfssl.errors import ConfigError, DataError, message, problems_of
from tfssl.runs import RunDirectory
from tfssl.runs.scores import SCRATCH, Score, add_score, scores_of
from tfssl.show import console
from tfssl.show.dense_tables import BY_SEED, dense_tables
from tfssl.tasks import Outcome
from tfssl.tasks.points import run_once

SOURCES = {"detect": detection.boxes_sources, "segment": segmentation.mask_sources}
"""Mode that learns boxes or masks to what opens training and held-out images."""


def run(config: Config, mode: str, task: Callable[[Config], Outcome]) -> Outcome:
    """Trains a dense task from each start with each seed, and says the table.

    Each training is in `run_dir/MODE_runs/START-seed-N`, as the mode by itself would
    leave it; one that is done with the same flags is left alone, so a killed table goes
    on. A start whose seeds are all there has a score in `results.json` of `run_dir`:
    means over the seeds, and their standard deviations (n - 1).

    Args:
      config: Resolved, with several starts or seeds.
      mode: `"detect"` or `"segment"`.
      task: Its function.

    Returns:
      The scores, one a start.
    """
    rows = []
    with RunDirectory(config.run_dir) as directory:
        for start, cells in _cells(config, mode):
            found = []
            for one in cells:
                title = f"{mode} from {start}, seed {one.seed}"
                point = run_once(one, mode, task, title)
                scores = scores_of(point.read_results())
                found.append([s for s in scores if s.protocol == mode][-1])
            rows.append(_mean(start, found, config.seed))
            add_score(directory, rows[-1])
    for table in dense_tables(rows):
        console.say(f"{table.title}, in per cent:")
        console.say(console.table([table.heads, *table.rows]))
        console.say(table.note)
    return Outcome(value=rows)


def check(config: Config, modes: list[str]) -> list[str]:
    """Finds what dense tasks lack; see `Task.check`.

    Raises:
      ConfigError: A start of a table holds no run, or one that the task cannot begin
        from.
      CheckpointError: It holds no checkpoint.
    """
    asked = [mode for mode in SOURCES if mode in modes]
    for mode in asked if is_table(config) else ():
        _check_starts(config, mode)
    return [problem for mode in asked for problem in _of_data(config, mode)]


def _of_data(config: Config, mode: str) -> list[str]:
    """A batch to train on is needed, and one image that can be scored."""
    try:
        train, held_out = SOURCES[mode](config)
    except DataError as error:
        return [str(error)]
    places = []
    if held_out.objects is not None:
        there = [len(image.boxes) > 0 for image in held_out.objects.images]
        places.append(np.flatnonzero(there))
    readable = problems_of(build.require_readable, held_out, *places)
    flag = f"{mode}_batch_size"
    return readable + problems_of(build.require_batch, config, train, flag)


def _check_starts(config: Config, mode: str) -> None:
    problems = []
    for start, cells in _cells(config, mode):
        problems += [f"{start}: {problem}" for problem in validate(cells[0])]
        if start != RANDOM:
            trained.checkpoint_folder(start)  # refused, if there is none
    if problems:
        raise ConfigError(problems)


def _cells(config: Config, mode: str) -> Iterator[tuple[str, list[Config]]]:
    """Each start with the flags of its trainings."""
    seeds = range(config.seed, config.seed + config.dense_seeds)
    for start in starts(config, mode):
        stored = None if start == RANDOM else _stored(start)
        yield start, [cell(config, mode, start, seed, stored) for seed in seeds]


def _stored(start: str) -> Config:
    found = stored_config(start)
    if found is None:
        raise ConfigError(
            message(
                f"dense_runs={start}, which holds no run",
                "run directories, or random",
                "mode=pretrain or mode=convert first",
            )
        )
    return found


def _mean(start: str, found: Sequence[Score], first: int) -> Score:
    """One row: means over the seeds of what all of them have."""
    common = [n for n in found[0].metrics if all(n in s.metrics for s in found)]
    values = {name: [score.metrics[name] for score in found] for name in common}
    spread = {n: statistics.stdev(v) for n, v in values.items() if len(v) > 1}
    how = f"; means over {len(found)} seeds" if len(found) > 1 else ""
    return dataclasses.replace(
        found[0],
        subject=SCRATCH if start == RANDOM else start,
        metrics={name: statistics.fmean(v) for name, v in values.items()},
        settings={**found[0].settings, "first_seed": first},
        intervals={},
        found={"std": spread, BY_SEED: values},
        description=found[0].description + how,
    )
