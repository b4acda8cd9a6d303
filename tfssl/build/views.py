"""How images become views and what evaluation sees, as `--augment` says."""

from __future__ import annotations

import tensorflow as tf

from tfssl.augment import Recipe, eval_transform, named, with_strength
from tfssl.augment.recipes import EvalTransform
from tfssl.build.data import on_device
from tfssl.config import Config
from tfssl.data import Source
from tfssl.train import make_device_views, make_photometry
from tfssl.train.replica_step import Photometric


def recipe(config: Config) -> Recipe:
    """The table of augmentation of `--augment` and `--jitter_strength`."""
    return with_strength(named(config.augment), config.jitter_strength)


def transform(config: Config) -> EvalTransform:
    """Evaluation's resize, crop and normalisation: what the training recipe implies."""
    return eval_transform(recipe(config))


def photometric(config: Config, rows: int) -> Photometric:
    """The colour half of the run's augmentation, for `rows` images a replica."""
    return make_photometry(
        recipe(config),
        seed=config.seed,
        global_batch=config.batch_size,
        replica_batch=rows,
        micro_batches=config.micro_batches,
    )


def views_of_batches(
    config: Config, data: Source, rows: int, run_on: tf.distribute.Strategy
) -> Photometric:
    """What makes views of the `views` that `training_batches` gives.

    Args:
      config: Resolved configuration.
      data: Training images.
      rows: Images of a step on one replica.
      run_on: The run's strategy.
    """
    colour = photometric(config, rows)
    if not on_device(config, data):
        return colour
    with run_on.scope():
        images = tf.Variable(data.pixels(), trainable=False, name="images")
    return make_device_views(
        images,
        recipe(config),
        colour,
        seed=config.seed,
        global_batch=config.batch_size,
        replica_batch=rows,
        image_size=config.image_size,
        micro_batches=config.micro_batches,
    )
