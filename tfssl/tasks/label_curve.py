"""A mode for several label fractions and seeds: a learning curve, point by point."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable

from tfssl import build
from tfssl.config import Config
from tfssl.config.label_cells import cells
from tfssl.config.remote import as_path
from tfssl.runs import RunDirectory
from tfssl.runs.scores import scores_of
from tfssl.show import console
from tfssl.show.label_curves import Measured, curves, text_table
from tfssl.tasks import Outcome
from tfssl.tasks.points import run_once

FOLDER = "labels"
"""In a run directory: a folder for each fraction and seed, with `FILE`."""

FILE = "labels.json"


def run(config: Config, mode: str, task: Callable[[Config], Outcome]) -> Outcome:
    """Runs a mode once for each fraction and seed, and says the table so far.

    Each point is a run directory, `run_dir/labels/FRACTION-seed-N`, that begins from
    the run. One that is done with the same flags is left alone, so a killed curve goes
    on; modes after this one are still about `run_dir`.

    Args:
      config: Resolved, with several fractions or seeds.
      mode: That learns from labels.
      task: Its function.
    """
    above = as_path(config.run_dir) / FOLDER
    for name, cell in cells(config).items():
        point = RunDirectory(above / name)
        one = _of_point(config, cell, point, mode)
        after = functools.partial(_count, one)
        run_once(one, mode, task, f"{mode}, labels {name}", after)
    found = curves(measured(config.run_dir))
    console.say(console.table(text_table(found)))
    return Outcome(value=found)


def _count(one: Config, point: RunDirectory) -> None:
    """Leaves how many labelled images the point has."""
    data = build.labelled_source(one, memory=0)
    known = {"fraction": one.text("label_fraction"), "images": data.num_examples}
    point.write_atomic(point.path / FILE, json.dumps(known) + "\n")


def measured(run_dir: str) -> list[Measured]:
    """Reads the scores of all points of a run's learning curves."""
    above = as_path(run_dir) / FOLDER
    found = []
    for folder in sorted(above.iterdir(), key=str) if above.is_dir() else ():
        if (folder / FILE).is_file():
            known = json.loads((folder / FILE).read_text("utf-8"))
            for score in scores_of(RunDirectory(folder).read_results()):
                found.append(Measured(known["images"], known["fraction"], score))
    return found


def _of_point(config: Config, cell: Config, point: RunDirectory, mode: str) -> Config:
    start = config.init_from or config.run_dir
    one = dataclasses.replace(cell, mode=mode, run_dir=str(point.path))
    if mode == "distill":
        teacher = config.teacher or str(point.finetune)
        return dataclasses.replace(one, teacher=teacher, init_from="")
    return dataclasses.replace(one, init_from=start)
