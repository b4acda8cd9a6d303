"""From `Config` to the fine-tuning of a whole network on labels."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import keras
import numpy as np

from tfssl import optim
from tfssl.build import networks, trained
from tfssl.build.data import require_batch
from tfssl.build.training import Rate, supervised
from tfssl.build.views import supervised_recipe
from tfssl.config import Config
from tfssl.config.tasks import FINETUNE_RATES
from tfssl.core import runtime, seeds
from tfssl.data import Source, oversampled, require_labels
from tfssl.errors import DataError, message
from tfssl.runs.scores import Counts
from tfssl.train import Job


def finetuning(config: Config, data: Source, start: str, steps: int = 0) -> Job:
    """The fine-tuning that the flags describe.

    Args:
      config: Resolved configuration, with one rate and one number of epochs.
      data: Labelled images.
      start: The run whose encoder and kept projector layers it begins with; "": those
        of the seed. The classifier starts afresh.
      steps: Updates in place of `finetune_epochs`; BatchNorm's statistics follow them
        as in SimCLR's appendix B.8.2.

    Raises:
      DataError: The images are not enough for a batch.
    """
    batch = config.finetune_batch_size
    require_batch(config, data, "finetune_batch_size")
    runtime.set_precision(config.precision)
    several = data.several
    classes = data.num_classes if several is None else len(several.class_names)
    targets = None if several is None else several.targets
    weights = class_weights(data) if config.class_balance == "loss" else None
    if config.class_balance == "sampling":
        data = oversampled(data)
    (epochs,) = config.finetune_epochs
    momentum = None
    if steps:
        momentum = max(1 - 10 * batch / data.num_examples, 0.9)
    job = supervised(
        config,
        data,
        supervised_recipe(config),
        lambda: networks.fine_tune(config, classes, weights, momentum, targets=targets),
        functools.partial(_optimizer, config),
        peak=learning_rate(config),
        steps=steps or epochs * data.num_examples // batch,
        batch_size=batch,
        flag="finetune_batch_size",
        seed=seeds.init_seed(config.seed, "finetune"),
        micro_batches=config.micro_batches,
        rate_factors=networks.stage_rate_factors(config),
    )
    if not start:
        return job

    def initialize() -> None:
        items = job.state.method.checkpoint_items()
        pretrained = {n: v for n, v in items.items() if n.startswith("online/")}
        trained.assign_items(pretrained, trained.checkpoint_folder(start))

    return dataclasses.replace(job, initialize=initialize)


def require_targets(config: Config, data: Source, what: str) -> None:
    """Refuses images without labels; they may have several each.

    Args:
      config: Resolved configuration.
      data: Training images.
      what: Flag that needs labels, for the error.

    Raises:
      DataError: There are none, or the flags want one label an image.
    """
    if data.several is None:
        require_labels(data, what)
    elif config.class_balance != "none":
        raise DataError(
            message(
                f"class_balance={config.class_balance} with {data.name}, whose images "
                "have several labels",
                "one label an image",
                "class_balance=none",
            )
        )


def learning_rate(config: Config) -> float:
    """The peak rate: the flag's, or the published one, scaled as published."""
    base, scaling = FINETUNE_RATES[config.finetune_optimizer]
    (rate,) = config.finetune_learning_rate
    return optim.scaled_learning_rate(rate or base, config.finetune_batch_size, scaling)


def described(
    config: Config, data: Source, start: str, how: str, counts: Counts
) -> dict[str, Any]:
    """Says what a fine-tuning was, in keywords of its `Score`.

    Args:
      config: As of `finetuning`, like data and start.
      data: Labelled images.
      start: The run that it began with, or "".
      how: How rate and epochs were chosen; "" where they were asked for.
      counts: Of the images that it is scored on.
    """
    rate, (epochs,) = learning_rate(config), config.finetune_epochs
    fraction, batch = config.text("label_fraction"), config.finetune_batch_size
    settings = {"epochs": epochs, "batch_size": batch, "label_fraction": fraction}
    if how:
        del settings["epochs"]  # it came out of the sweep
    extra = {
        flag: config.text(flag)
        for flag in (
            "freeze",
            "finetune_stage_rates",
            "label_smoothing",
            "class_balance",
        )
        if getattr(config, flag) != config.specs[flag].default
    }
    own = "".join(f", {flag.replace('_', ' ')} {text}" for flag, text in extra.items())
    kept = f"{config.finetune_layer} projector layers kept"
    frozen = {"none": "whole network", "all": "classifier alone"}
    text = (
        f"{frozen.get(config.freeze, f'stages from {config.freeze} on')} trained on "
        f"{data.num_examples} labelled images (label fraction {fraction}) for {epochs} "
        f"epochs, {config.finetune_optimizer}, peak rate {rate:g}, {how}cosine, "
        f"batch {batch}, decay {config.finetune_weight_decay:g}, crop and flip, "
        f"{kept if start else 'from the seed'}{own}; scored on {counts} in float32 "
        "with moving statistics"
    )
    found = {"learning_rate": rate, "epochs": epochs} if how else {}
    return {"settings": settings | extra, "found": found, "description": text}


def class_weights(data: Source) -> list[float]:
    """Returns `n / (classes * n_c)` of each class c: 1 on average over the n images.

    A class without an image weighs nothing, and does not count as one.
    """
    counts = np.bincount(data.labels[data.labels >= 0], minlength=data.num_classes)
    there = counts > 0
    weights = counts.sum() / (there.sum() * np.maximum(counts, 1))
    return np.where(there, weights, 0.0).tolist()


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
