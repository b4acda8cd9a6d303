"""How images become views and what evaluation sees, as `--augment` says."""

from __future__ import annotations

import tensorflow as tf

from tfssl.augment import RECIPES, Recipe, eval_transform, named, with_strength
from tfssl.augment.recipes import EvalTransform
from tfssl.build.data import TrainingInput, training_input
from tfssl.config import Config
from tfssl.data import Source


def recipe(config: Config) -> Recipe:
    """The table of augmentation of `--augment` and `--jitter_strength`."""
    return with_strength(named(config.augment), config.jitter_strength)


def transform(config: Config) -> EvalTransform:
    """Returns evaluation's resize and crop: what the training recipe implies."""
    return eval_transform(recipe(config))


def supervised_recipe(config: Config) -> Recipe:
    """Returns crop and flip of the encoder's family, one view."""
    return RECIPES[f"linear_{config.encoder_family}"]


def pretraining_input(
    config: Config,
    data: Source,
    run_on: tf.distribute.Strategy,
    *,
    on_device: bool = True,
) -> TrainingInput:
    """Makes the batches and views of a pre-training; arguments of `training_input`."""
    return training_input(
        run_on,
        data,
        recipe(config),
        seed=config.seed,
        global_batch=config.batch_size,
        image_size=config.image_size,
        micro_batches=config.micro_batches,
        service=config.data_service,
        on_device=on_device,
    )
