"""Fine-tuning on a data set to transfer to: SimCLR's appendix B.8.2."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from tfssl.build import trained
from tfssl.build.devices import strategy
from tfssl.build.finetuning import finetuning
from tfssl.build.trained import Trained
from tfssl.build.training import recorder
from tfssl.build.transfer_folds import Folds
from tfssl.build.views import supervised_recipe
from tfssl.config import Config
from tfssl.config.flag import specs_of
from tfssl.config.groups import Job, Machine, Recording
from tfssl.config.tasks import FinetuneFlags
from tfssl.config.transfer_sets import Sweep
from tfssl.data import Source
from tfssl.data.source import Several
from tfssl.data.subset import Joined, chosen
from tfssl.evaluate.result import Result
from tfssl.runs import RunDirectory
from tfssl.runs.scores import TRAINED, Score, measured, scored_once
from tfssl.show import console

BATCH = 256
CHECKPOINT_EVERY = 500
"""Steps that a killed process may lose."""


def best_of(
    config: Config, run: Trained, folds: Folds, sweep: Sweep, folder: Path
) -> Result:
    """Chooses rate and decay on validation images, trains again with those, once.

    Each training is a run directory in `folder`; one that has its score is not made
    again, one that was stopped goes on. Their checkpoints go when they are scored.

    Args:
      config: Of the command: devices and what is shown.
      run: The encoder to begin with; without a checkpoint, the seed's.
      folds: The data set.
      sweep: What is tried.
      folder: Of this encoder and data set.

    Returns:
      Of the test images; with `rate`, `decay` and the validation images' `validation`
      of the one chosen.
    """
    fit, validation, both = _parts(folds)
    found = {}
    for rate in sweep.rates:
        for decay in sweep.decays:
            own = folder / f"rate-{rate:g}-decay-{decay:g}"
            how = _settings(config, run, folds, own, rate, decay, fit)
            found[rate, decay] = _tried(how, fit, validation, folds, sweep.steps)
    rate, decay = max(found, key=lambda pair: found[pair])  # the first of equals
    how = _settings(config, run, folds, folder / "best", rate, decay, both)
    with RunDirectory(how.run_dir) as own_run:
        tuned = _trained(how, both, folds, sweep.steps, own_run)
        table = tuned.answers(folds.test)
        own_run.checkpoint_store().remove_all()
    result = folds.measured(table, folds.test.num_examples)
    more = {"rate": rate, "decay": decay, "validation": found[rate, decay]}
    return dataclasses.replace(result, found=more)


def _parts(folds: Folds) -> tuple[Source, Source, Source]:
    """Images to train on, to choose by, and both together."""
    train = _labelled(folds.train, np.ones(folds.train.num_examples, bool))
    if folds.validation is not None:
        every = np.ones(folds.validation.num_examples, bool)
        validation = _labelled(folds.validation, every)
        several = None
        if train.several is not None:
            ids = np.concatenate([train.ids, validation.ids])
            several = Several(folds.targets(ids, ids), folds.class_names)
        return train, validation, Joined(train, validation, several)
    last = np.isin(folds.train.ids, folds.held_out)
    return _labelled(folds.train, ~last), _labelled(folds.train, last), train


def _labelled(source: Source, rows: np.ndarray) -> Source:
    there = source.labels >= 0 if source.several is None else rows
    places = np.flatnonzero(rows & there)
    return chosen(source, places, f"{len(places)} of {source.num_examples}")


def _settings(
    config: Config,
    run: Trained,
    folds: Folds,
    own: Path,
    rate: float,
    decay: float,
    data: Source,
) -> Config:
    """The flags of one training: the run's network, the command's machine."""
    flags = {name: getattr(config, name) for group in (Job, Machine)
             for name in specs_of(group)}  # fmt: skip
    flags |= {name: spec.default for group in (FinetuneFlags, Recording)
              for name, spec in specs_of(group).items()}  # fmt: skip
    replicas = strategy(config).num_replicas_in_sync
    batch = min(BATCH, data.num_examples) // replicas * replicas
    flags |= {
        "mode": "finetune",
        "run_dir": str(own),
        "init_from": str(run.checkpoint or ""),
        "dataset": folds.spec,
        "precision": "float32",
        "micro_batches": 1,
        "checkpoint_every": CHECKPOINT_EVERY,
        "tensorboard": False,
        "source": "",
        "label_fraction": 1.0,
        "finetune_batch_size": max(batch, replicas),
        "finetune_learning_rate": (rate,),
        "finetune_weight_decay": decay / rate,
    }
    return dataclasses.replace(run.config, **flags)


def _tried(
    settings: Config, fit: Source, validation: Source, folds: Folds, steps: int
) -> float:
    """The leading metric of one pair on the validation images."""
    with RunDirectory(settings.run_dir) as own:

        def score() -> Score:
            found = _trained(settings, fit, folds, steps, own).evaluate(validation)
            return Score("finetune", validation.name, TRAINED, **measured(found))

        value = scored_once(own, score).metrics[folds.metric]
    console.say(
        f"{folds.row.name}: {Path(settings.run_dir).name}: {100 * value:.1f} % of "
        "validation images"
    )
    return value


def _trained(
    settings: Config, data: Source, folds: Folds, steps: int, own: RunDirectory
) -> Trained:
    job = finetuning(settings, data, settings.init_from, steps)
    several = data.several is not None
    text = trained.classes_text(folds.class_names, several_labels=several)
    job.run(
        recorder(
            settings,
            job,
            own,
            supervised_recipe(settings),
            name="finetune",
            title=f"{folds.row.name}, {Path(own.path).name}",
            texts={trained.CLASSES: text},
        )
    )
    return trained.load(own.path)
