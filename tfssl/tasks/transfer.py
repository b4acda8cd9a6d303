"""`--mode=transfer`: encoders compared on other data sets, in one table."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tfssl import build
from tfssl.build import Trained, trained
from tfssl.build.kept_features import KeptFeatures
from tfssl.build.transfer_folds import Folds, open_folds
from tfssl.config import Config
from tfssl.config.transfer_sets import SWEEPS, TransferSet, chosen_sets
from tfssl.errors import DataError, NotPreparedError, message
from tfssl.evaluate.regression import L2_VALUES
from tfssl.evaluate.result import Result
from tfssl.runs import RunDirectory
from tfssl.runs.scores import RAW_PIXELS, UNTRAINED, Score, add_score
from tfssl.show import console
from tfssl.show.scores import score_line, subject_title
from tfssl.show.transfer import MARK, TransferTable, as_csv, as_latex, console_rows
from tfssl.tasks import Outcome
from tfssl.tasks.transfer_scores import Bench
from tfssl.tasks.transfer_tables import Key, tables

_SENTENCES = {
    "linear": "multinomial logistic regression (one-vs-rest for several labels) by "
    "L-BFGS on the features of the resized image's centre, no augmentation; "
    f"{len(L2_VALUES)} L2 values from 1e-6 to 1e5, chosen on validation images, "
    "trained again with those, tested once",
    "finetune": "whole network fine-tuned with crop and flip (SimCLR's B.8.2: SGD "
    "Nesterov 0.9, cosine, batch 256 or all images), learning rate and weight decay "
    "chosen on validation images, trained again with those, tested once",
    "knn": "weighted kNN among all training images",
    "few_shot": "logistic regression (L2 1) on features of length 1 of a few images a "
    "class, and weighted kNN among them; means over draws",
}


def run(config: Config) -> Outcome:
    """Compares the run, `--baselines` and `--transfer_runs` on `--transfer`.

    `run_dir/transfer` holds the features of each data set by each encoder, every
    result, and the table as JSON, CSV and LaTeX. The same command goes on where it was
    stopped.

    Returns:
      What `transfer/table.json` holds.
    """
    sets, missing = check(config)
    with RunDirectory(config.run_dir) as directory:
        folder = Path(directory.path) / "transfer"
        runs = _subjects(config, folder)
        results: dict[str, dict[Key, Result]] = {}
        about: list[dict[str, Any]] = []
        for row in sets:
            folds = open_folds(config, row)
            results[row.name], asked = {}, [*_asked(config, folds)]
            for key, each in runs.items():
                bench = Bench(config, folds, subject_title(key), *each, folder)
                for protocol, name, settings in (*asked, *_sweep(config, folds, key)):
                    found = bench.result(protocol, settings)
                    results[row.name][name, key] = found
                    score = _score(protocol, row, folds, key, settings, found)
                    add_score(directory, score)
                    console.say(f"{row.name}: {score_line(score)}")
            about.append(_about(row, folds))
            directory.add_reading(**build.how_read())
        made = tables(config.encoder, about, list(runs), results)
        return Outcome(value=_written(directory, folder, made, about, missing))


def check(config: Config) -> tuple[list[TransferSet], list[dict[str, str]]]:
    """Opens every data set, to find what is wrong before the first step.

    Returns:
      Those that are there; name, reason and cure of those that are not.

    Raises:
      DataError: None is there, or one has no labels or a class with too few images.
      CheckpointError: One of `--transfer_runs` is no run, or without weights.
    """
    sets, missing = [], []
    for path in config.transfer_runs:
        trained.load(path)  # refused, if it is no run that can be loaded
    for row in chosen_sets(config.transfer, config.data_dir):
        try:
            folds = open_folds(config, row)
            for images in filter(None, (folds.train, folds.validation, folds.test)):
                build.require_readable(images, instead="another data set")
            sets.append(row)
        except NotPreparedError as error:
            why = str(error)
            missing.append({"name": row.name, "why": why, "prepare": row.prepare})
            console.say(f"{row.name} is passed over, it is not there: {row.prepare}")
        build.how_read()  # lets go of it: the twelve do not fit into memory together
    if not sets:
        names = ", ".join(each["name"] for each in missing)
        raise DataError(
            message(
                f"transfer={','.join(config.transfer)}, of which nothing is there",
                f"at least one of {names} on this machine",
                missing[0]["prepare"],
            )
        )
    return sets, missing


def _subjects(config: Config, folder: Path) -> dict[str, tuple[Trained, KeptFeatures]]:
    """The encoders, by their names in scores; images are cut as the papers do."""
    found = trained.subjects(config)
    found |= {path: trained.load(path) for path in config.transfer_runs}
    subjects = {}
    for key, each in found.items():
        cut = dataclasses.replace(each.transform, crop_fraction=1.0, resize="bicubic")
        run = dataclasses.replace(each, transform=cut)
        kept = KeptFeatures(config, run, folder / "features")
        subjects[key] = run, kept
    return subjects


def _asked(config: Config, folds: Folds) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Protocol, name of its table and settings, of all that fits the data set."""
    yield "linear", "linear", {"l2_values": list(L2_VALUES)}
    if folds.train.several is not None:
        return
    votes = {"k": config.knn_k, "temperature": config.knn_temperature}
    yield "knn", "knn", votes
    labels = folds.train.labels
    if folds.validation is not None:
        labels = np.concatenate([labels, folds.validation.labels])
    smallest = int(np.unique(labels[labels >= 0], return_counts=True)[1].min())
    for count in map(int, config.transfer_shots):
        if count <= smallest:
            more = {"images": count, "draws": config.transfer_draws}
            yield "few_shot", f"few_shot {count}", {**more, **votes}
        else:
            console.say(
                f"{folds.row.name}: no table of {count} images a class, of one class "
                f"there are {smallest}"
            )


def _sweep(
    config: Config, folds: Folds, key: str
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The same of fine-tuning: of one label an image, and of an encoder that learns."""
    if config.transfer_sweep == "none" or key == RAW_PIXELS:
        return
    if folds.train.several is not None:
        return
    tries = SWEEPS[config.transfer_sweep, key != UNTRAINED]
    more = {"rates": list(tries.rates), "decays": list(tries.decays)}
    sweep: dict[str, Any] = {"sweep": config.transfer_sweep, "steps": tries.steps}
    if config.seed:  # results of 0 are kept without it
        sweep["seed"] = config.seed
    yield "finetune", "finetune", {**sweep, **more}


def _score(
    protocol: str,
    row: TransferSet,
    folds: Folds,
    key: str,
    settings: dict[str, Any],
    found: Result,
) -> Score:
    said = {n: v for n, v in settings.items() if not isinstance(v, list)}
    return Score(
        f"transfer_{protocol}",
        folds.test.name,
        key,
        found.metrics,
        {"set": row.name, **said},
        found.intervals,
        found.counts,
        found.found,
        _SENTENCES[protocol],
        "; ".join(filter(None, (found.note, folds.note))),
        found.confusion,
    )


def _about(row: TransferSet, folds: Folds) -> dict[str, Any]:
    own = folds.validation.num_examples if folds.validation else len(folds.held_out)
    train = folds.train.num_examples - len(folds.held_out)
    sizes = {"train": train, "validation": own, "test": folds.test.num_examples}
    return {"name": row.name, "title": row.title, "metric": folds.metric,
            "images": sizes, "note": folds.note}  # fmt: skip


def _written(
    directory: RunDirectory,
    folder: Path,
    made: list[TransferTable],
    about: list[dict[str, Any]],
    missing: list[dict[str, str]],
) -> dict[str, Any]:
    plain = {"sets": about, "missing": missing,
             "tables": [dataclasses.asdict(table) for table in made]}  # fmt: skip
    texts: dict[str, Callable[[], str]] = {
        "table.json": lambda: json.dumps(plain, indent=1) + "\n",
        "table.csv": lambda: as_csv(made),
        "table.tex": lambda: as_latex(made),
    }
    for name, text in texts.items():
        directory.write_atomic(folder / name, text())
    for table in made:
        console.say(f"{table.title}, in per cent:")
        console.say(console.table(console_rows(table)))
    if any(cell and cell.bold for t in made for row in t.rows for cell in row.cells):
        console.say(f"*: {MARK}")
    for each in missing:
        console.say(f"{each['name']} is not in the table: {each['prepare']}")
    console.say(f"table: {folder}/table.json, table.csv, table.tex")
    return plain
