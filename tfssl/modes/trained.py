"""Finds the encoder that a run trained and loads it for evaluation or export."""

from __future__ import annotations

from pathlib import Path

import keras

from tfssl.config import Config
from tfssl.core import runtime, variables
from tfssl.errors import CheckpointError, message
from tfssl.modes import networks
from tfssl.train import CheckpointStore, checkpoint

ENCODER = "online/encoder"
"""Prefix of the encoder's tensors in a checkpoint, whatever the method."""


def fresh_encoder(config: Config) -> keras.Model:
    """The encoder before training: float32, outside of any strategy."""
    runtime.set_precision("float32")
    return networks.encoder(config, config.seed)


def checkpoint_folder(path: str | Path) -> Path:
    """The newest undamaged checkpoint of a run directory, or the checkpoint itself.

    Raises:
      CheckpointError: There is none.
    """
    path = Path(path)
    if (path / "manifest.json").exists():
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


def load_encoder(config: Config) -> tuple[keras.Model, Path]:
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


def assign_encoder(model: keras.Model, folder: Path) -> None:
    """Assigns the encoder's part of a checkpoint to a model, strictly."""
    tensors = {
        name: value
        for name, value in checkpoint.read(folder).items()
        if name.startswith(f"{ENCODER}/")
    }
    checkpoint.assign(tensors, variables.named(ENCODER, model.weights), folder)
