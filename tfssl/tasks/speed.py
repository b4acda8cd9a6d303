"""Measures what limits a run: decoding, the input pipeline, or the training step."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator

import tensorflow as tf

from tfssl import build
from tfssl.config import Config
from tfssl.core import runtime
from tfssl.data import Encoded, Source, training
from tfssl.errors import DataError, message
from tfssl.train import make_run_steps

_SECONDS = 10.0  # of each measurement, after a first batch or step
_DECODED = 256  # the first images, whose decoding is measured
_CLEARLY = 1.1  # a ratio below it is no difference


def rates(config: Config, source: Source) -> dict[str, float | None]:
    """Images a second of each stage of the configured run, each by itself.

    Args:
      config: Resolved configuration.
      source: Training images, at least a batch.

    Returns:
      `decode` (None where nothing is decoded), `pipeline` (read, decode, crop, batch)
      and `step` (colours, forward, backward, update, on batches that are ready).

    Raises:
      DataError: None of the first images can be decoded.
      tf.errors.OpError: Too many unreadable images in a row (`data.rows`).
    """
    return {
        "decode": _decode_rate(source),
        "pipeline": _pipeline_rate(config, source),
        "step": _step_rate(config, source),
    }


def verdict(found: dict[str, float | None]) -> str:
    """One sentence: which rate limits the run, and what to change.

    Args:
      found: See `rates`.
    """
    decode, pipeline, step = (found[name] for name in ("decode", "pipeline", "step"))
    if not pipeline or not step:
        return "Speed was not measured."
    numbers = f"{pipeline:.0f} images/s from the pipeline, {step:.0f} through the step"
    if step * _CLEARLY < pipeline:
        return (
            f"The training step limits the run ({numbers}): a faster device, "
            "--precision=mixed_bfloat16 or a smaller --encoder would help, faster "
            "input would not."
        )
    if pipeline * _CLEARLY >= step:
        return f"Pipeline and step are in balance ({numbers}): change nothing."
    if decode and decode < 2 * pipeline:
        return (
            f"Decoding limits the run ({numbers}, {decode:.0f} decoded): write smaller "
            "images with tools/make_tfrecords.py --shorter_side, or use more CPU cores."
        )
    return (
        f"Reading and cropping limit the run ({numbers}): a faster disk, TFRecord "
        "files (tools/make_tfrecords.py) or more CPU cores would help."
    )


def _decode_rate(source: Source) -> float | None:
    """On bytes in memory, all cores."""
    if not isinstance(source, Encoded):
        return None

    def shape(data: tf.Tensor) -> tf.Tensor:
        return tf.shape(source.decoded(data))

    def readable(index: tf.Tensor) -> tf.Tensor:
        data = source.encoded(index)["data"]
        with tf.control_dependencies([shape(data)]):
            return tf.identity(data)

    # Those that cannot be decoded go before `repeat`: where all of them could not, a
    # dataset without end would look for the next one for ever.
    looked_at = min(source.num_examples, _DECODED)
    files = tf.data.Dataset.range(looked_at).map(readable).ignore_errors()
    kept = list(runtime.on_all_cores(files).as_numpy_iterator())
    if not kept:
        raise DataError(
            message(
                f"{looked_at} unreadable images, all that were tried of {source.name}",
                "images that can be decoded",
                "removing or repairing these files",
            )
        )
    images = tf.data.Dataset.from_tensor_slices(kept).repeat()
    images = images.map(shape, num_parallel_calls=tf.data.AUTOTUNE)
    return _rate(iter(runtime.on_all_cores(images.batch(32))), 32, skip=8)


def _pipeline_rate(config: Config, source: Source) -> float:
    strategy = build.strategy(config)
    given = _host_input(config, source, strategy)
    return _rate(given.batches(0), config.batch_size, skip=2)


def _host_input(
    config: Config, source: Source, strategy: tf.distribute.Strategy
) -> build.TrainingInput:
    """Makes the run's input as this host does all of it that can be done here."""
    alone = dataclasses.replace(config, data_service="")
    return build.pretraining_input(alone, source, strategy, on_device=False)


def _step_rate(config: Config, source: Source) -> float:
    """Times the real step of the configured run, on one batch again and again."""
    strategy = build.strategy(config)
    runtime.set_precision(config.precision)
    parts = config.micro_batches
    rows = build.replica_batch(config.batch_size, strategy, parts)
    with strategy.scope():
        state = build.state(config, source.num_examples, source.num_classes)
    views = _host_input(config, source, strategy).views
    run_steps = make_run_steps(strategy, state, views, micro_batches=parts)

    def one_batch(context: tf.distribute.InputContext) -> tf.data.Dataset:
        del context
        batches = training(
            source,
            build.recipe(config),
            seed=config.seed,
            start_step=0,
            global_batch=config.batch_size,
            replica_batch=rows,
            image_size=config.image_size,
            micro_batches=parts,
            local=runtime.feeds_itself(strategy),
        )
        return batches.take(1).cache().repeat()

    batches = iter(strategy.distribute_datasets_from_function(one_batch))

    def steps() -> Iterator:
        while True:
            yield run_steps(batches, tf.constant(1, tf.int64))["loss"].numpy()

    return _rate(steps(), config.batch_size, skip=2)


def _rate(items: Iterator, images: int, *, skip: int) -> float:
    """Images a second, after the first items."""
    for _ in range(skip):
        next(items)
    began, count = time.perf_counter(), 0
    while count == 0 or time.perf_counter() - began < _SECONDS:
        next(items)
        count += images
    return count / max(time.perf_counter() - began, 1e-9)
