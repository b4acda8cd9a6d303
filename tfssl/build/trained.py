"""Finds the encoder that a run trained and loads it for evaluation or export."""

from __future__ import annotations

import json
from typing import Any

import keras
import tensorflow as tf

from tfssl.build import networks
from tfssl.config import Config, modes
from tfssl.config.inherit import stored_config
from tfssl.config.remote import as_path
from tfssl.core import runtime, variables
from tfssl.core.paths import AnyPath
from tfssl.errors import CheckpointError, message
from tfssl.runs import CheckpointStore, RunDirectory, checkpoint
from tfssl.weights import CLASSIFIER, licence_text

ENCODER = "online/encoder"
"""Prefix of the encoder's tensors in a checkpoint, whatever the method."""


def fresh_encoder(config: Config) -> keras.Model:
    """The encoder before training: float32, outside of any strategy."""
    runtime.set_precision("float32")
    return networks.encoder(config, config.seed)


def checkpoint_folder(path: str | AnyPath) -> AnyPath:
    """The newest undamaged checkpoint of a run directory, or the checkpoint itself.

    Raises:
      CheckpointError: There is none.
    """
    path = as_path(path)
    if (path / checkpoint.MANIFEST).exists():
        store = CheckpointStore(path.parent)
        candidates = [path]
    else:
        store = CheckpointStore(path / "checkpoints")
        candidates = [store.path(step) for step in reversed(store.steps())]
    for folder in candidates:
        if checkpoint.damage(folder) is None:
            return folder
    raise CheckpointError(
        message(
            f"no whole checkpoint under {path}",
            "a run directory after at least one checkpoint",
            "--mode=pretrain first, or --init_from=RUN_DIR",
        )
    )


def load_encoder(config: Config) -> tuple[keras.Model, AnyPath]:
    """Builds the encoder and assigns the trained weights to it.

    Args:
      config: `init_from`, else `run_dir`, says where from.

    Returns:
      The model in float32, and the folder of the checkpoint used.

    Raises:
      CheckpointError: There is no checkpoint, or it holds another encoder.
    """
    folder = checkpoint_folder(config.init_from or config.run_dir)
    model = fresh_encoder(config)
    assign_encoder(model, folder)
    return model, folder


def load_classifier(config: Config, folder: AnyPath) -> keras.Model | None:
    """What fine-tuning put behind the encoder, `[b, F]` to `[b, classes]`.

    Args:
      config: The run's; its `finetune_layer` says which projector layers were kept.
      folder: The checkpoint.

    Returns:
      The model in float32, or None where the run was not a fine-tuning. (The online
      probe of a pre-training is no product of it.)
    """
    stored = stored_config(str(folder))
    if stored is None or modes(stored) != ["finetune"]:
        return None
    bias = checkpoint.read(folder, f"{CLASSIFIER}/bias")
    runtime.set_precision("float32")
    network = networks.fine_tune(config, len(bias[f"{CLASSIFIER}/bias"]))
    assign_items(network.checkpoint_items(), folder)
    return network.head()


def provenance(path: str | AnyPath) -> dict[str, Any] | None:
    """Whose weights a run's encoder is made of, where they are not its own.

    Args:
      path: A run directory, or a checkpoint in one.

    Returns:
      The record of `--mode=convert`, or None where everything was trained from a seed.
    """
    start = as_path(path)
    for folder in (start, *start.parents[:2]):
        file = RunDirectory(folder).provenance
        if file.is_file():
            return json.loads(file.read_text())
    return None


def write_provenance(directory: RunDirectory, record: dict[str, Any]) -> None:
    """Writes the record and its licence notice into a run directory."""
    text = json.dumps(record, indent=1) + "\n"
    directory.write_atomic(directory.provenance, text)
    directory.write_atomic(directory.licence, licence_text(record))


def assign_items(items: dict[str, tf.Variable], folder: AnyPath) -> None:
    """Assigns a checkpoint's tensors to variables; what has no variable is left.

    Args:
      items: Name to variable.
      folder: The checkpoint.

    Raises:
      CheckpointError: It lacks one of the names, or a shape differs.
    """
    checkpoint.assign(folder, items, items.__contains__)


def assign_encoder(model: keras.Model, folder: AnyPath) -> None:
    """Assigns the encoder's part of a checkpoint to a model, strictly."""
    items = variables.named(ENCODER, model.variables)
    checkpoint.assign(folder, items, lambda name: name.startswith(f"{ENCODER}/"))
