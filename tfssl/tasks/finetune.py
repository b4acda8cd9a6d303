"""`--mode=finetune`: trains the whole network on labels, from a trained encoder."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from typing import Any

import keras

from tfssl import build, optim
from tfssl.build import Trained, networks, trained
from tfssl.build.training import Rate
from tfssl.build.views import supervised_recipe
from tfssl.config import Config, difference
from tfssl.config.flagfile import from_flagfile
from tfssl.config.tasks import FINETUNE_RATES
from tfssl.core import runtime, seeds
from tfssl.data import Source, require_labels
from tfssl.errors import RunDirectoryError, message
from tfssl.evaluate import classification, rank
from tfssl.runs import RunDirectory
from tfssl.runs.scores import TRAINED, Confusion, Score, add_score
from tfssl.show import console
from tfssl.show.scores import score_line
from tfssl.tasks import Outcome
from tfssl.train import Job

_RECIPE = ("label_fraction", "precision", "dataset", "train_split", "seed", "init_from")
_RECIPE += ("micro_batches",)


def run(config: Config) -> Outcome:
    """Fine-tunes into `run_dir/finetune` and scores the result.

    Protocol: crop and flip, cosine without warm-up, no layer frozen; by default SGD
    with Nesterov momentum .9 as in SimCLR's appendix B.5 and BYOL's C.2, or SimCLR
    v2's LARS. The folder is a run directory of its own: `--run_dir` and `--init_from`
    of any mode take it, modes after this one are about it, and its export also serves
    `probabilities`.

    Raises:
      RunDirectoryError: The folder holds a fine-tuning with other flags.
      Stopped: A signal ended it after a checkpoint.
    """
    data = build.labelled_source(config)
    require_labels(data, "mode=finetune")
    if not build.is_chief(config):
        _train(config, data, None)
        return Outcome()  # what follows is the chief's
    with RunDirectory(config.run_dir) as directory:
        evaluation = build.evaluation_source(config, classes=data.class_names)
        with RunDirectory(directory.finetune) as own:
            _train(config, data, own)
            score, confusion = _score(config, data, trained.load(own.path), evaluation)
            add_score(own, score, confusion)
        add_score(directory, score, confusion)
    console.say(score_line(score))
    console.say(f"the fine-tuned run is {own.path}")
    return Outcome(str(own.path))


def _train(config: Config, data: Source, own: RunDirectory | None) -> None:
    """Trains to the end; of several workers the chief has the directory."""
    settings, texts = config, {}
    if own is not None:
        settings = _settings(config, own)
        _refuse_other_flags(settings, own)
        texts = trained.provenance_texts(_start(config))
        texts[trained.CLASSES] = json.dumps(list(data.class_names))
    job = _job(config, data)
    views = _views(config)
    job.run(build.recorder(settings, job, own, views, name="finetune", texts=texts))


def learning_rate(config: Config) -> float:
    """The peak rate: the flag's, or the published one, scaled as published."""
    base, scaling = FINETUNE_RATES[config.finetune_optimizer]
    return optim.scaled_learning_rate(
        config.finetune_learning_rate or base, config.finetune_batch_size, scaling
    )


def _start(config: Config) -> str:
    return config.init_from or config.run_dir


def _settings(config: Config, own: RunDirectory) -> Config:
    """The flags of the fine-tuned run: it began from another one."""
    return dataclasses.replace(
        config, mode="finetune", run_dir=str(own.path), init_from=_start(config)
    )


def _refuse_other_flags(settings: Config, own: RunDirectory) -> None:
    if not own.flags.exists():
        return
    stored = from_flagfile(own.flags.read_text("utf-8"))
    # Before it was written down, a fine-tuning began from the run that it lies in.
    began = stored.init_from or os.path.dirname(settings.run_dir)
    if os.path.realpath(began) == os.path.realpath(settings.init_from):
        stored = dataclasses.replace(stored, init_from=settings.init_from)
    names = [n for n in settings.specs if n.startswith("finetune_") or n in _RECIPE]
    if found := difference(settings, stored, names):
        flags = ", ".join(f"{n}={a} instead of {b}" for n, a, b in found)
        raise RunDirectoryError(
            message(
                f"a fine-tuning with other flags in {own.path}: {flags}",
                "the same flags, to go on with it",
                "those, or removing that folder",
            )
        )


def _job(config: Config, data: Source) -> Job:
    batch = config.finetune_batch_size
    build.require_batch(config, data, "finetune_batch_size")
    runtime.set_precision(config.precision)
    job = build.supervised(
        config,
        data,
        _views(config),
        lambda: networks.fine_tune(config, data.num_classes),
        functools.partial(_optimizer, config),
        peak=learning_rate(config),
        epochs=config.finetune_epochs,
        batch_size=batch,
        flag="finetune_batch_size",
        seed=seeds.init_seed(config.seed, "finetune"),
        micro_batches=config.micro_batches,
    )

    def initialize() -> None:
        # Encoder and kept projector layers; the classifier starts afresh.
        items = job.state.method.checkpoint_items()
        pretrained = {n: v for n, v in items.items() if n.startswith("online/")}
        trained.assign_items(pretrained, trained.checkpoint_folder(_start(config)))

    return dataclasses.replace(job, initialize=initialize)


def _views(config: Config) -> Any:
    return supervised_recipe(config)


def _optimizer(config: Config, rate: Rate) -> keras.optimizers.Optimizer:
    more: dict[str, Any] = {"nesterov": True}
    if config.finetune_optimizer == "lars":
        # As in pre-training, the classifier's rate is not adapted by its norm.
        more = {"exclude": [*optim.DEFAULT_EXCLUDE, networks.PROBE]}
    return optim.build_optimizer(
        config.finetune_optimizer,
        rate,
        momentum=0.9,
        weight_decay=config.finetune_weight_decay,
        **more,
    )


def _score(
    config: Config, data: Source, run: Trained, evaluation: Source
) -> tuple[Score, Confusion]:
    """Accuracy on held-out images, in float32 with moving statistics."""
    table = run.classify(evaluation, probabilities=False)
    found = classification(
        rank(table.features),
        table.labels,
        data.num_classes,
        class_names=data.class_names,
        images=evaluation.num_examples,
    )
    settings = {
        "epochs": config.finetune_epochs,
        "batch_size": config.finetune_batch_size,
        "label_fraction": config.text("label_fraction"),
    }
    text = (
        f"whole network trained on {data.num_examples} labelled images "
        f"(label fraction {config.text('label_fraction')}) for "
        f"{config.finetune_epochs} epochs, {config.finetune_optimizer}, peak "
        f"rate {learning_rate(config):g}, cosine, batch {config.finetune_batch_size}, "
        f"decay {config.finetune_weight_decay:g}, crop and flip, "
        f"{config.finetune_layer} projector layers kept; scored on "
        f"{found.counts} in float32 with moving statistics"
    )
    score = Score(
        "finetune",
        evaluation.name,
        TRAINED,
        found.metrics,
        settings,
        found.intervals,
        found.counts,
        description=text,
    )
    return score, found.confusion
