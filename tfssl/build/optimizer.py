"""Length, learning rate and optimiser of a pre-training."""

from __future__ import annotations

from collections.abc import Callable

import keras

from tfssl import optim
from tfssl.build.networks import PROBE
from tfssl.config import Config


def total_steps(config: Config, num_examples: int) -> int:
    """Number of updates of the run, by the method's own rounding."""
    if config.train_steps:
        return config.train_steps
    return optim.total_steps(
        num_examples, config.batch_size, config.epochs, family=config.method
    )


def learning_rate(config: Config, num_examples: int, steps: int) -> Callable:
    """Step to learning rate, with the official rounding of warm-up and length."""
    name = config.lr_schedule
    if (config.method, name, config.warmup_epochs) == ("moco", "cosine", 0):
        name = "epoch_cosine"  # main_moco.py sets the rate once per epoch
    return optim.build_schedule(
        name,
        peak=optim.scaled_learning_rate(
            config.learning_rate, config.batch_size, config.lr_scaling
        ),
        total=steps,
        warmup=optim.warmup_steps(
            num_examples, config.batch_size, config.warmup_epochs
        ),
        steps_per_epoch=max(1, num_examples // config.batch_size),
        boundaries=optim.milestone_steps(
            num_examples, config.batch_size, config.lr_milestones, family=config.method
        ),
        decay=config.lr_decay or None,
        decay_steps=config.lr_decay_steps,
        staircase=config.lr_staircase,
    )


def optimizer(config: Config, rate: Callable) -> keras.optimizers.Optimizer:
    """The optimiser of the run, at a rate that is a function of the step."""
    exclude = None
    if config.method == "simclr" and config.optimizer != "sgd":
        exclude = [*optim.DEFAULT_EXCLUDE, PROBE]
    return optim.build_optimizer(
        config.optimizer,
        rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        lr_in_velocity=False if config.method == "byol" else None,
        exclude=exclude,
    )
