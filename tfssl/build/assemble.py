"""Makes the parts that a `Config` names."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from tfssl import optim
from tfssl.augment import Recipe, eval_transform, named, photometry, with_strength
from tfssl.augment.recipes import EvalTransform
from tfssl.build.networks import METHOD_BUILDERS, PROBE
from tfssl.config import Config, launch
from tfssl.config.rules.training import milestones
from tfssl.core import runtime
from tfssl.data import Source, is_small, open_source, training
from tfssl.errors import DataError, message
from tfssl.show import console
from tfssl.train import RunState, make_device_views, make_photometry
from tfssl.train.replica_step import Photometric


@functools.cache
def _strategy(name: str, virtual_devices: int, tpu_name: str) -> tf.distribute.Strategy:
    runtime.split_cpu(virtual_devices)
    if name == launch.MULTIWORKER:
        # Nothing else tells a worker that waits from one that hangs.
        cluster = launch.read_cluster(os.environ)
        console.say(
            f"worker {cluster.rank} of {cluster.size}: waiting until all have come "
            f"({', '.join(cluster.addresses)})"
        )
    return runtime.make_strategy(name, tpu_name)


def strategy(config: Config) -> tf.distribute.Strategy:
    """The run's strategy; one object for the whole process."""
    return _strategy(config.strategy, config.virtual_devices, config.tpu_name)


def recipe(config: Config) -> Recipe:
    """The table of augmentation of `--augment` and `--jitter_strength`."""
    return with_strength(named(config.augment), config.jitter_strength)


def transform(config: Config) -> EvalTransform:
    """Evaluation's resize, crop and normalisation: what the training recipe implies."""
    return eval_transform(recipe(config))


def source(config: Config, split: str, **more: Any) -> Source:
    """Opens the data set at one split; `more` are arguments of `open_source`."""
    return open_source(
        config.dataset,
        split,
        image_size=config.image_size,
        data_dir=config.data_dir or None,
        index_dir=config.index_dir or None,
        rebuild_index=config.rebuild_index,
        max_pixels=config.max_image_pixels,
        tfrecord_image_key=config.tfrecord_image_key,
        tfrecord_label_key=config.tfrecord_label_key,
        tfrecord_first_label=config.tfrecord_first_label,
        seed=config.seed,
        **more,
    )


def labelled_source(config: Config) -> Source:
    """The training images whose labels may be used: `--label_fraction` of them."""
    return source(config, config.train_split, label_fraction=config.label_fraction)


def evaluation_source(config: Config, **more: Any) -> Source:
    """The held-out images: `--eval_split`, or the split called "test".

    Folders answer to that name with `val` or `validation` where there is no `test`,
    or with the tenth of the files that they hold out.
    """
    return source(config, config.eval_split or "test", **more)


def training_source(config: Config) -> Source:
    """The data to train on; refuses one that is smaller than a batch."""
    data = source(config, config.train_split)
    if data.num_examples < config.batch_size:
        raise DataError(
            message(
                f"{data.num_examples} training images in --dataset={config.dataset}",
                f"at least one batch (--batch_size={config.batch_size})",
                f"--batch_size={max(2, data.num_examples)} or less, or more images",
            )
        )
    return data


def total_steps(config: Config, num_examples: int) -> int:
    """Number of updates of the run, by the method's own rounding."""
    if config.train_steps:
        return config.train_steps
    return optim.total_steps(
        num_examples, config.batch_size, config.epochs, family=config.method
    )


def state(config: Config, num_examples: int, num_classes: int | None) -> RunState:
    """Method and optimiser of the run; call inside the strategy's scope."""
    steps = total_steps(config, num_examples)
    method = METHOD_BUILDERS[config.method](config, num_classes, steps, num_examples)
    factor = tf.Variable(1.0, trainable=False, name="rate_factor")
    rate = learning_rate(config, num_examples, steps)
    optimizer = _optimizer(config, lambda step: rate(step) * factor)
    return RunState.create(method, optimizer, factor)


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
            num_examples, config.batch_size, milestones(config), family=config.method
        ),
        decay=config.lr_decay or None,
        decay_steps=config.lr_decay_steps,
        staircase=config.lr_staircase,
    )


def _optimizer(config: Config, rate: Callable) -> keras.optimizers.Optimizer:
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


def photometric(config: Config, rows: int) -> Photometric:
    """The colour half of the run's augmentation, for `rows` images a replica."""
    return make_photometry(
        recipe(config),
        seed=config.seed,
        global_batch=config.batch_size,
        replica_batch=rows,
        micro_batches=config.micro_batches,
    )


def on_device(config: Config, data: Source) -> bool:
    """Whether the images live on the devices, and views are cut there."""
    return is_small(data, config.image_size) and not config.data_service


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


def replica_batch(
    config_batch: int, run_on: tf.distribute.Strategy, micro_batches: int = 1
) -> int:
    """Images of one step on one replica; refuses a batch that cannot be split."""
    replicas = run_on.num_replicas_in_sync
    share = replicas * micro_batches
    if config_batch % share:
        parts = f" in {micro_batches} micro batches" if micro_batches > 1 else ""
        raise DataError(
            message(
                f"--batch_size={config_batch} on {replicas} replicas{parts}",
                f"a multiple of {share}",
                f"--batch_size={max(1, config_batch // share) * share}",
            )
        )
    return config_batch // replicas


def training_batches(
    run_on: tf.distribute.Strategy,
    data: Source,
    views: Recipe,
    *,
    seed: int,
    start_step: int,
    global_batch: int,
    image_size: int,
    micro_batches: int = 1,
    service: str = "",
    cut: bool = True,
) -> Iterator:
    """The batches of a run from `start_step` on; every worker reads its own rows.

    Args:
      run_on: The run's strategy; its replicas share the global batch.
      data: Training images.
      views: Recipe; its geometry is done here, on the host.
      seed: The run's seed.
      start_step: Updates made so far.
      global_batch: Images of a step over all replicas of all workers.
      image_size: Side in pixels.
      micro_batches: Parts in which a replica takes its rows.
      service: Of `--data_service`, or empty.
      cut: Of `training`.

    Returns:
      What `make_run_steps`' function takes.
    """
    rows = replica_batch(global_batch, run_on, micro_batches)

    def make(context: tf.distribute.InputContext) -> tf.data.Dataset:
        share = global_batch // context.num_input_pipelines
        return training(
            data,
            views,
            seed=seed,
            start_step=start_step,
            global_batch=global_batch,
            replica_batch=rows,
            image_size=image_size,
            first_row=context.input_pipeline_id * share,
            rows=share,
            micro_batches=micro_batches,
            service=service,
            cut=cut,
            local=runtime.feeds_itself(run_on),
        )

    return iter(run_on.distribute_datasets_from_function(make))


def compiled_encode(
    model: keras.Model, evaluation: EvalTransform
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Images in [0, 1] to float32 features, in inference mode."""

    @tf.function
    def encode(images):
        normalised = photometry.normalize(images, evaluation.mean, evaluation.std)
        return tf.cast(model(normalised, training=False), tf.float32)

    return encode
