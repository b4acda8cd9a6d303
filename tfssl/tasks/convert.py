"""`--mode=convert`: published weights as a run directory like any other."""

from __future__ import annotations

import dataclasses
import json
import time
from typing import Any

import numpy as np
import tensorflow as tf

import tfssl
from tfssl import build, weights
from tfssl.build import trained
from tfssl.config import Config, resolve
from tfssl.config.encoder_name import parse_encoder
from tfssl.config.flagfile import from_flagfile, to_flagfile
from tfssl.config.rules import validate
from tfssl.core import runtime
from tfssl.core.paths import remove_folder
from tfssl.errors import CheckpointError, ConfigError, RunDirectoryError, message
from tfssl.runs import RunDirectory, checkpoint
from tfssl.show import console
from tfssl.tasks import Outcome

PROBE_IMAGES = 2
"""Random pictures that a converted encoder must give finite features for."""


def run(config: Config) -> Outcome:
    """Reads `--source` and writes checkpoint, provenance and flags.

    Order on disk: nothing before the file is understood whole; then the checkpoint,
    the provenance, and, after the encoder has been loaded from there and tried,
    `flags.cfg`, which makes a run of the directory.

    Args:
      config: From `config.inherit.open_for_the_source`: what the file decides is open,
        or given to be held against it.
    """
    with RunDirectory(config.run_dir) as directory:
        if directory.flags.exists():
            _again(config, directory)
        else:
            _convert(config, directory)
    return Outcome(config.run_dir)


def _again(config: Config, directory: RunDirectory) -> None:
    """The same conversion a second time: the weights that are there are left alone."""
    stored = from_flagfile(directory.flags.read_text("utf-8"))
    if stored.source != config.source:
        raise RunDirectoryError(
            message(
                f"source={config.source} in run_dir={config.run_dir}",
                f"source={stored.source}, which was converted there",
                "another run_dir",
            )
        )
    trained.checkpoint_folder(config.run_dir)  # raises where it is damaged
    console.say(f"{config.run_dir} holds {config.source} already; nothing was changed")


def _convert(config: Config, directory: RunDirectory) -> None:
    start = time.monotonic()
    store = directory.checkpoint_store(keep=1)
    if store.steps():
        raise RunDirectoryError(
            message(
                f"checkpoints without flags.cfg in run_dir={config.run_dir}",
                "an empty folder",
                "another run_dir",
            )
        )
    kind, _, path = config.source.partition(":")
    published = weights.open_published(kind, path)
    final = _configuration(config, published.network)
    record = weights.describe(kind, path, published)
    step = published.step
    try:
        tensors = published.matched.read()
        tensors["step"] = tf.constant(step, tf.int64)
        store.write(step, tensors)
        # The encoder is loaded below: two copies of a large network are enough.
        del tensors, published
        runtime.trim_heap()
        record["preprocessing"] = _preprocessing(final)
        record["written_by"] = f"tfssl {tfssl.__version__}"
        text = json.dumps(record, indent=1) + "\n"
        directory.write_atomic(directory.provenance, text)
        directory.write_atomic(directory.licence, weights.licence_text(record))
        width = _try(final)
        directory.write_atomic(directory.flags, to_flagfile(final))
    except BaseException:
        # A directory is converted whole or not at all.
        remove_folder(store.path(step), checkpoint.MANIFEST)
        directory.provenance.unlink(missing_ok=True)
        directory.licence.unlink(missing_ok=True)
        raise
    seconds = time.monotonic() - start
    directory.add_results(
        {"convert": {"source": config.source, "features": width, "seconds": seconds}}
    )
    for line in weights.lines(record):
        console.say(line)
    console.say(f"converted to {final.run_dir} in {seconds:.1f} s")


def _configuration(config: Config, network: weights.Network) -> Config:
    """The flags of the run: the file's facts, and what was given beside them.

    Raises:
      ConfigError: Something given contradicts the file, or the rules.
    """
    facts = network.flags()
    problems = [
        message(
            f"--{name}={asked} for source={config.source}",
            f"--{name}={value}, which the file holds",
            f"leaving --{name} away, or --{name}={value}",
        )
        for name, value in facts.items()
        if (asked := getattr(config, name)) not in (None, "") and asked != value
        if name != "encoder" or parse_encoder(asked) != network.spec
    ]
    if not problems:
        small = network.spec.cifar
        config = resolve(
            dataclasses.replace(
                config,
                mode="convert",
                image_size=config.image_size or (32 if small else 224),
                augment=config.augment or network.recipe,
                **facts,
            )
        )
        problems = validate(config)
    if problems:
        raise ConfigError(problems)
    return config


def _preprocessing(config: Config) -> dict[str, Any]:
    views = build.recipe(config)
    return {
        "image_size": config.image_size,
        "augment": config.augment,
        "evaluation": {
            **dataclasses.asdict(build.transform(config)),
            "mean": views.mean,
            "std": views.std,
        },
    }


def _try(config: Config) -> int:
    """Loads the encoder as any evaluation does and runs it once.

    Returns:
      Length of its features.

    Raises:
      CheckpointError: They are not finite, or equal for different pictures.
    """
    run = trained.load(config.run_dir, config=config)
    shape = [PROBE_IMAGES, run.image_size, run.image_size, 3]
    images = tf.random.stateless_uniform(shape, seed=[0, 0])
    features = run.encode(images).numpy()
    if not np.isfinite(features).all() or (features[0] == features[1]).all():
        raise CheckpointError(
            message(
                f"features of source={config.source} that are not finite or do not "
                "depend on the picture",
                "a trained encoder",
                "another copy of the file",
            )
        )
    return features.shape[-1]
