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


def run(
    config: Config, mode: str, task: Callable[[Config], Outcome], earlier: int = 0
) -> Outcome:
    """Runs a mode once for each fraction and seed, and says the table so far.

    Each point is a run directory, `run_dir/labels/FRACTION-seed-N`, that begins from
    the run. One that is done with the same flags is left alone, so a killed curve goes
    on; modes after this one are still about `run_dir`.

    Args:
      config: Resolved, with several fractions or seeds.
      mode: That learns from labels.
      task: Its function.
      earlier: How often the command had the mode before. A second distillation is by
        the student of the first, and stands in its folder.
    """
    above = as_path(config.run_dir) / FOLDER
    for name, cell in cells(config).items():
        one = dataclasses.replace(cell, mode=mode, run_dir=str(above / name))
        if mode == "distill":
            one = _distillation(one, earlier)
        else:
            start = config.init_from or config.run_dir
            one = dataclasses.replace(one, init_from=start)
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
    found: list[Measured] = []
    for folder in sorted(above.iterdir(), key=str) if above.is_dir() else ():
        own: list[Measured] = []
        while (folder / FILE).is_file():
            known = json.loads((folder / FILE).read_text("utf-8"))
            for score in scores_of(RunDirectory(folder).read_results()):
                one = Measured(known["images"], known["fraction"], score)
                if one not in own:  # a student's own folder repeats its score
                    own.append(one)
            folder = folder / "distill"
        found += own
    return found


def _distillation(one: Config, earlier: int) -> Config:
    """Returns the flags of a point's distillation, by what the point has trained."""
    names = one.student_encoder[earlier:][:1] or one.student_encoder[-1:]
    point = RunDirectory(one.run_dir)
    place = point.path
    for _ in range(earlier):
        place = place / "distill"
    teacher = str(place) if earlier else one.teacher or str(point.finetune)
    own = {"run_dir": str(place), "teacher": teacher, "student_encoder": names}
    return dataclasses.replace(one, init_from="", **own)  # type: ignore[arg-type]
