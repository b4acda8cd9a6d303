"""Data sets and batches, as `--dataset` and the splits name them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from tfssl.augment import Recipe
from tfssl.build.devices import replica_batch
from tfssl.config import Config
from tfssl.core import runtime
from tfssl.data import Source, is_small, open_source, training
from tfssl.errors import DataError, message


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
    fraction = config.text("label_fraction")
    return source(config, config.train_split, label_fraction=fraction)


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


def on_device(config: Config, data: Source) -> bool:
    """Whether the images live on the devices, and views are cut there."""
    return is_small(data, config.image_size) and not config.data_service


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
