"""Data sets and batches, as `--dataset` and the splits name them."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfssl.augment import Recipe, crops
from tfssl.build.devices import replica_batch, strategy
from tfssl.config import Config
from tfssl.config.rules import validate
from tfssl.core import runtime
from tfssl.data import Source, in_classes, is_small, open_source, training
from tfssl.data.files import one_file
from tfssl.errors import DataError, message, printable
from tfssl.show import console
from tfssl.train import make_device_views, make_photometry
from tfssl.train.replica_step import Photometric

LOOKED_AT = 1000
"""Images, all unreadable, after which one of more may still be readable."""

_told: set[str] = set()
_opened: list[Source] = []


def begin_command() -> None:
    """Forgets what was opened before: each command says how it reads its data."""
    _told.clear()
    _opened.clear()


def how_read() -> dict[str, Any]:
    """Returns how the data sets opened since the last call were read, and lets them go.

    Returns:
      `data`: name to the summary of `Source.summary`; `skipped_files`: `path` and
      `reason` of each file met that could not be read, once.
    """
    data = {str(found["name"]): found for found in _summaries()}
    skipped = {row["path"]: row for source in _opened for row in source.skipped()}
    _opened.clear()
    return {"data": data, "skipped_files": list(skipped.values())}


def _summaries() -> list[dict[str, object]]:
    found = [source.summary() for source in _opened]
    return [summary.as_dict() | {"text": summary.text} for summary in found]


def source(
    config: Config, split: str, *, classes: Sequence[str] = (), **more: Any
) -> Source:
    """Opens the data set at one split, and says once how it was read.

    Args:
      config: Resolved configuration.
      split: As in `parse_split`.
      classes: Names of the classes by which labels shall count; empty: its own.
      **more: Arguments of `open_source`.
    """
    opened = open_source(
        config.dataset,
        split,
        image_size=config.image_size,
        data_dir=config.data_dir or None,
        index_dir=config.index_dir or None,
        rebuild_index=config.rebuild_index,
        max_pixels=config.max_image_pixels,
        orient=config.orient,
        tfrecord_image_key=config.tfrecord_image_key,
        tfrecord_label_key=config.tfrecord_label_key,
        tfrecord_first_label=config.tfrecord_first_label,
        seed=config.seed,
        **more,
    )
    if classes:
        opened = in_classes(opened, classes)
    text = opened.summary().text
    if text not in _told:
        _told.add(text)
        console.say(text)
    _opened.append(opened)
    return opened


def labelled_source(config: Config, **more: Any) -> Source:
    """The training images whose labels may be used: `--label_fraction` of them."""
    fraction = config.text("label_fraction")
    return source(config, config.train_split, label_fraction=fraction, **more)


def evaluation_source(config: Config, **more: Any) -> Source:
    """The held-out images: `--eval_split`, or the split called "test".

    Folders answer to that name with `val` or `validation` where there is no `test`,
    or with the tenth of the files that they hold out. Give the names of the training
    classes as `classes`: labels are then in their numbering, whatever numbers these
    images have of their own.
    """
    return source(config, config.eval_split or "test", **more)


def training_source(config: Config) -> Source:
    """The data to train on; refuses one that is smaller than a batch."""
    data = source(config, config.train_split)
    require_batch(config, data, "batch_size")
    return data


def query_source(config: Config) -> Source:
    """`--query` as a data set: a file, a folder of images, or a list.

    Raises:
      DataError: There is none.
    """
    query = config.query
    if not query.startswith("list:"):
        if not os.path.isdir(query):
            if not os.path.isfile(query):
                raise DataError(
                    message(
                        f"query={printable(query)}, which is not there",
                        "an image, a folder of images, or list:FILE",
                        "another path",
                    )
                )
            file = one_file(query, config.max_image_pixels)
            file.orient = config.orient
            return file
        query = f"folder:{query}"
    # What is asked about has nothing to do with where the run's own data are.
    asked = dataclasses.replace(config, dataset=query, data_dir="")
    return source(asked, "all", memory=0)


def require_batch(config: Config, data: Source, flag: str) -> None:
    """Refuses data that fills no batch, and a batch that no replicas can share.

    Args:
      config: Resolved configuration.
      data: Training images.
      flag: Which flag says how many images a step takes over all replicas.

    Raises:
      DataError: So it is; the advice is a batch that all other flags allow.
    """
    count, batch = data.num_examples, getattr(config, flag)
    if count >= batch:
        replica_batch(batch, strategy(config), config.micro_batches, flag)
        return
    share = strategy(config).num_replicas_in_sync * config.micro_batches
    before = validate(config)
    fits = (
        smaller
        for smaller in range(count // share * share, 1, -share)
        if validate(dataclasses.replace(config, **{flag: smaller})) == before
    )
    smaller = next(fits, 0)
    raise DataError(
        message(
            f"{count} images in {data.name}",
            f"at least one batch ({flag}={batch})",
            f"{flag}={smaller}, or more images"
            if smaller
            else f"{batch} images or more: no smaller batch goes with the other flags"
            if count > 1
            else "more images: a batch is at least 2",
        )
    )


def require_readable(
    data: Source,
    places: np.ndarray | None = None,
    instead: str = "eval_split=NAME of another split",
) -> None:
    """Refuses images none of which can be read; of many not all are looked at.

    Args:
      data: The images.
      places: Those that matter, int64; None: all.
      instead: What else to try, for the message.

    Raises:
      DataError: So it is, with the first ones and the reasons.
    """
    if places is None:
        places = np.arange(data.num_examples)
    if not data.may_fail or len(places) > LOOKED_AT:
        return
    for place in places:
        try:
            data.example(tf.constant(place, tf.int64))
            return
        except (tf.errors.OpError, ValueError):
            continue
    named = ", ".join(data.failed(int(place)) for place in places[:3])
    raise DataError(
        message(
            f"{len(places)} images in {data.name}, none of which can be read: {named}",
            "one that can",
            f"repairing them, or {instead}",
        )
    )


class TrainingInput(NamedTuple):
    """The two halves of a run's input, which agree on who cuts the views.

    Attributes:
      batches: Function of the updates made so far to the batches from there on; every
        worker reads its own rows.
      views: Makes views of a batch, in the training step.
    """

    batches: Callable[[int], Iterator]
    views: Photometric


def training_input(
    run_on: tf.distribute.Strategy,
    data: Source,
    recipe: Recipe,
    *,
    seed: int,
    global_batch: int,
    image_size: int,
    micro_batches: int = 1,
    service: str = "",
    on_device: bool = True,
    flag: str = "batch_size",
) -> TrainingInput:
    """Chooses who cuts the views, and makes both halves of the input for it.

    Args:
      run_on: The run's strategy; its replicas share the global batch.
      data: Training images.
      recipe: How to draw views of them.
      seed: The run's seed.
      global_batch: Images of a step over all replicas of all workers.
      image_size: Side in pixels.
      micro_batches: Parts in which a replica takes its rows.
      service: Of `--data_service`, or empty.
      on_device: Whether small images may live on the devices and be cut there.
      flag: Which flag said the batch size, for the message.

    Raises:
      DataError: The batch cannot be split over the replicas.
    """
    rows = replica_batch(global_batch, run_on, micro_batches, flag)
    local = runtime.feeds_itself(run_on)
    split = {
        "seed": seed,
        "global_batch": global_batch,
        "replica_batch": rows,
        "micro_batches": micro_batches,
    }
    views = make_photometry(recipe, **split)
    if on_device and is_small(data, image_size) and not service:
        cutter = crops.ON_DEVICE
        with run_on.scope():
            images = tf.Variable(data.pixels(), trainable=False, name="images")
        views = make_device_views(images, recipe, views, image_size=image_size, **split)
    else:
        cutter = crops.host_cutter(this_process=local and not service)

    rows = functools.partial(
        training,
        data,
        recipe,
        **split,
        image_size=image_size,
        service=service,
        cutter=cutter,
        local=local,
    )
    return TrainingInput(distributed(run_on, global_batch, rows), views)


def distributed(
    run_on: tf.distribute.Strategy,
    global_batch: int,
    rows_of: Callable[..., tf.data.Dataset],
) -> Callable[[int], Iterator]:
    """Returns the function of a step to the batches from it on, on all replicas.

    Args:
      run_on: The run's strategy.
      global_batch: Rows of a step over all replicas.
      rows_of: Makes a worker's data set of `start_step`, `first_row` and `rows`.
    """

    def make(start_step: int, context: tf.distribute.InputContext) -> tf.data.Dataset:
        share = global_batch // context.num_input_pipelines
        first_row = context.input_pipeline_id * share
        return rows_of(start_step=start_step, first_row=first_row, rows=share)

    def batches(start_step: int) -> Iterator:
        if runtime.is_one_cpu(run_on):
            # A distributed data set ends in one that TensorFlow makes, with the thread
            # that `on_all_cores` avoids: the end of a training waited half a minute.
            return iter(make(start_step, tf.distribute.InputContext()))
        of_worker = functools.partial(make, start_step)
        return iter(run_on.distribute_datasets_from_function(of_worker))

    return batches
