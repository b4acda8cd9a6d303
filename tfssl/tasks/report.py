"""`--mode=report`: one self-contained page about a run, finished or still going."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

import tfssl
from tfssl import build
from tfssl.build import trained
from tfssl.build.first_views import VIEWS, first_views
from tfssl.config import Config
from tfssl.data import spread
from tfssl.errors import CheckpointError, DataError
from tfssl.evaluate import collapse_signals
from tfssl.runs import RunDirectory
from tfssl.runs.pictures import pictures_of
from tfssl.runs.scores import confusions_of, scores_of
from tfssl.show import console
from tfssl.show.label_curves import curves
from tfssl.show.label_curves import text_table as curve_table
from tfssl.show.report import ReportData, build_page, read_log
from tfssl.show.scores import RunScores, text_table
from tfssl.show.tensorboard import write_projector
from tfssl.tasks import Outcome
from tfssl.tasks.label_curve import measured

HELD_OUT = 1000
"""Held-out images on the map of features."""


def run(config: Config) -> Outcome:
    """Writes `run_dir/report/index.html`.

    It takes no lock: it reads a run that may still be going.

    Returns:
      The path of the page.
    """
    directory = RunDirectory(config.run_dir)
    _write(config, directory)
    return Outcome(value=str(directory.report / "index.html"))


def _write(config: Config, directory: RunDirectory) -> None:
    scores = list(chain(directory))
    data = ReportData(
        title=directory.path.name,
        created=datetime.datetime.now().strftime("%Y-%m-%d %H:%M"),
        log=read_log(directory.log),
        results=directory.read_results(),
        chain=scores,
        curves=curves(measured(config.run_dir)),
        profile=directory.read_profile(),
        pictures=dict(_pictures(directory, scores)),
        transfer=_transfer(directory),
        flags=config.values(),
        views=_views(config),
        versions={"tfssl": tfssl.__version__, "tensorflow": tf.__version__},
    )
    _add_features(config, data)
    if config.tensorboard and data.features is not None:
        write_projector(directory.tensorboard, data)
    page = build_page(data)
    directory.write_atomic(directory.report / "index.html", page)
    if rows := text_table(data.chain):
        console.say(console.table(rows))
    if data.curves:
        console.say(console.table(curve_table(data.curves)))
    for what, path in (
        ("report", directory.report / "index.html"),
        ("numbers", directory.results),
        ("checkpoints", directory.checkpoints),
        ("saved model", directory.saved_model),
    ):
        if path.exists():
            console.say(f"{what}: {path}")


def _transfer(directory: RunDirectory) -> dict[str, Any] | None:
    return directory.read_json(directory.path / "transfer" / "table.json") or None


def chain(directory: RunDirectory, name: str = "") -> Iterator[RunScores]:
    """Yields the scores of a run, and of the runs inside it that began from it."""
    scores = scores_of(directory.read_results())
    yield RunScores(name, scores, confusions_of(directory))
    folders = directory.path.iterdir() if directory.path.is_dir() else ()
    for folder in sorted(folders, key=str):
        if folder.is_dir() and (folder / directory.results.name).is_file():
            yield from chain(RunDirectory(folder), f"{name}/{folder.name}".strip("/"))


def _pictures(
    directory: RunDirectory, runs: list[RunScores]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """What the run and those inside it predict, by name."""
    for run in runs:
        folder = RunDirectory(directory.path / run.name) if run.name else directory
        if found := pictures_of(folder):
            yield run.name, found


def _views(config: Config) -> np.ndarray | None:
    try:
        source = build.source(config, config.train_split)
    except DataError as error:
        console.say(f"no training images: the report shows no views ({error})")
        return None
    seed, size = config.seed, config.image_size
    views = build.recipe(config)
    return first_views(source, views, seed=seed, images=VIEWS, image_size=size).views


def _add_features(config: Config, data: ReportData) -> None:
    """Held-out images with their features, if the run has a checkpoint yet."""
    try:
        run = trained.of_command(config)
    except CheckpointError:
        console.say("no checkpoint yet: the report shows no features")
        return
    try:
        source = spread(build.evaluation_source(config), HELD_OUT)
    except DataError as error:
        console.say(f"no held-out images: the report shows no features ({error})")
        return
    table = run.features(source)
    data.features, data.labels = table.features, table.labels
    data.images = np.round(run.images(source) * 255).astype(np.uint8)
    data.class_names = list(source.class_names)
    if len(table) > 1:
        data.collapse = collapse_signals(table.features).as_dict()
