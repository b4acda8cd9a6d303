"""`--mode=report`: one self-contained page about a run, finished or still going."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import tensorflow as tf

import tfssl
from tfssl import build
from tfssl.build import trained
from tfssl.build.features import features
from tfssl.config import SPECS, Config
from tfssl.data import inference, spread
from tfssl.errors import CheckpointError
from tfssl.evaluate import collapse_signals
from tfssl.runs import RunDirectory
from tfssl.show import console
from tfssl.show.report import ReportData, build_page, read_log
from tfssl.show.tensorboard import write_projector
from tfssl.tasks.view_strip import view_strip

HELD_OUT = 1000
"""Held-out images on the map of features."""


def run(config: Config) -> int:
    """Writes `run_dir/report/index.html`.

    It takes no lock: it reads a run that may still be going.

    Returns:
      0.
    """
    console.route_warnings()
    directory = RunDirectory(config.run_dir)
    with directory.visited():
        _write(config, directory)
    return 0


def _write(config: Config, directory: RunDirectory) -> None:
    data = ReportData(
        title=directory.path.name,
        created=datetime.datetime.now().strftime("%Y-%m-%d %H:%M"),
        log=read_log(directory.log),
        results=directory.read_results(),
        profile=directory.read_profile(),
        flags={name: getattr(config, name) for name in SPECS},
        views=view_strip(config, build.source(config, config.train_split)),
        versions={"tfssl": tfssl.__version__, "tensorflow": tf.__version__},
    )
    _add_features(config, data)
    if config.tensorboard and data.features is not None:
        write_projector(directory.tensorboard, data)
    page = build_page(data)
    directory.write_atomic(directory.report / "index.html", page)
    if table := score_table(data.results):
        console.say(table)
    for what, path in (
        ("report", directory.report / "index.html"),
        ("numbers", directory.results),
        ("checkpoints", directory.checkpoints),
        ("saved model", directory.saved_model),
    ):
        if path.exists():
            console.say(f"{what}: {path}")


def score_table(results: dict[str, Any]) -> str:
    """KNN and linear top-1 of the trained encoder and its baselines, as text.

    Args:
      results: The content of `results.json`.

    Returns:
      A table, or nothing where nothing was scored yet.
    """
    baselines = results.get("baselines", {})
    rows = [("top-1", "kNN", "linear")]
    for title, scores in (
        ("raw pixels", baselines.get("raw_pixels", {})),
        ("encoder before training", baselines.get("untrained", {})),
        ("encoder after training", results),
    ):
        cells = [scores.get(protocol, {}).get("top1") for protocol in ("knn", "linear")]
        if any(cell is not None for cell in cells):
            text = ["-" if cell is None else f"{100 * cell:.1f} %" for cell in cells]
            rows.append((title, *text))
    return console.table(rows) if len(rows) > 1 else ""


def _add_features(config: Config, data: ReportData) -> None:
    """Held-out images with their features, if the run has a checkpoint yet."""
    try:
        encoder, _ = trained.load_encoder(config)
    except CheckpointError:
        console.say("no checkpoint yet: the report shows no features")
        return
    source = spread(build.evaluation_source(config), HELD_OUT)
    transform = build.transform(config)
    encode = build.compiled_encode(encoder, transform)
    size = config.image_size
    table = features(encode, source, transform, image_size=size)
    pictures = [
        batch["image"].numpy()[batch["mask"].numpy()]
        for batch in inference(source, transform, batch=100, image_size=size)
    ]
    data.features, data.labels = table.features, table.labels
    data.images = np.round(np.concatenate(pictures) * 255).astype(np.uint8)
    data.class_names = list(source.class_names)
    data.collapse = collapse_signals(table.features).as_dict()
