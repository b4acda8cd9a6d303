"""Length, learning rate and optimiser of a pre-training."""

from __future__ import annotations

import logging
from collections.abc import Callable

import keras
import numpy as np

from tfssl import optim
from tfssl.build.networks import PROBE
from tfssl.config import Config, method_row

_LOG = logging.getLogger(__name__)


def total_steps(config: Config, num_examples: int) -> int:
    """Returns the number of updates of the run, by the method's own rounding."""
    if config.train_steps:
        return config.train_steps
    rounding = method_row(config.method).rounding
    return optim.total_steps(
        num_examples, config.batch_size, config.epochs, rounding=rounding
    )


def peak_rate(config: Config) -> float:
    """Returns the learning rate after the warm-up, for the run's batch."""
    return optim.scaled_learning_rate(
        config.learning_rate, config.batch_size, config.lr_scaling
    )


def learning_rate(config: Config, num_examples: int, steps: int) -> Callable:
    """Step to learning rate, with the official rounding of warm-up and length."""
    row = method_row(config.method)
    name = config.lr_schedule
    if row.cosine_by_epoch and (name, config.warmup_epochs) == ("cosine", 0):
        name = "epoch_cosine"
    warmup = optim.warmup_steps(num_examples, config.batch_size, config.warmup_epochs)
    rate = optim.build_schedule(
        name,
        peak=peak_rate(config),
        total=steps,
        warmup=warmup,
        steps_per_epoch=max(1, num_examples // config.batch_size),
        boundaries=optim.milestone_steps(
            num_examples, config.batch_size, config.lr_milestones, rounding=row.rounding
        ),
        decay=config.lr_decay or None,
        decay_steps=config.lr_decay_steps,
        staircase=config.lr_staircase,
    )
    if warmup >= steps:
        _LOG.warning(
            "the warm-up (warmup_epochs=%g) takes %d steps and the run ends after %d: "
            "its rate reaches %.3g of %.3g",
            config.warmup_epochs, warmup, steps,
            np.max(rate(np.arange(steps))), peak_rate(config),
        )  # fmt: skip
    return rate


def optimizer(config: Config, rate: Callable) -> keras.optimizers.Optimizer:
    """Returns the optimiser of the run, at a rate that is a function of the step."""
    row = method_row(config.method)
    exclude = None
    # SGD decays everything unless told what not to, as MoCo's does.
    if not row.decays_probe and config.optimizer != "sgd":
        exclude = [*optim.DEFAULT_EXCLUDE, PROBE]
    return optim.build_optimizer(
        config.optimizer,
        rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        lr_in_velocity=row.lr_in_velocity,
        lamb_decay=config.lamb_decay,
        exclude=exclude,
    )
