"""The classifier of a linear evaluation on disk, with which its run can teach."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence

import keras
import numpy as np

from tfssl import models
from tfssl.build import vectors
from tfssl.build.trained import CLASSES, Trained, class_names, classes_text, load
from tfssl.config import modes
from tfssl.config.inherit import stored_config
from tfssl.config.remote import as_path
from tfssl.core import runtime
from tfssl.core.paths import AnyPath
from tfssl.embeddings.shard_files import FEATURES
from tfssl.errors import CheckpointError, message
from tfssl.runs import RunDirectory

FILE = "classifier.npz"
"""In the folder of the evaluation: `kernel` `[F, classes]` and `bias` of the classifier
that was scored, and `encoder`, a digest of the weights that it was trained on."""


def keep_probe(
    own: RunDirectory,
    encoder: keras.Model,
    kernel: np.ndarray,
    bias: np.ndarray,
    names: Sequence[str],
) -> None:
    """Writes a classifier.

    Args:
      own: The folder of the evaluation.
      encoder: That it was trained on.
      kernel: `[F, classes]`.
      bias: `[classes]`.
      names: Of the classes.
    """
    content = io.BytesIO()
    np.savez(content, kernel=kernel, bias=bias, encoder=_digest(encoder))
    own.write_atomic(own.path / FILE, content.getvalue())
    own.write_atomic(own.path / CLASSES, classes_text(names))


def load_probe(path: str | AnyPath) -> Trained | None:
    """Loads the encoder that a linear evaluation was of, with its classifier.

    Args:
      path: `RUN/linear`.

    Returns:
      None where there is none, as of evaluations of versions before 0.2.0.

    Raises:
      CheckpointError: The encoder is gone, or another one has its place.
    """
    folder = as_path(path)
    stored, file = stored_config(str(path)), folder / FILE
    if stored is None or modes(stored) != ["linear"] or not file.is_file():
        return None
    found = np.load(io.BytesIO(file.read_bytes()), allow_pickle=False)
    digest = str(found["encoder"]) if "encoder" in found else ""
    run = _encoder(folder, stored.init_from, digest)
    with runtime.precision("float32"):
        head = models.linear_head(*found["kernel"].shape, seed=0)
    head.set_weights([found["kernel"], found["bias"]])
    return dataclasses.replace(
        run, path=str(path), head=head, class_names=class_names(path)[0]
    )


def _encoder(folder: AnyPath, start: str, digest: str) -> Trained:
    """The checkpoint that an evaluation was of, also if the run was moved.

    Args:
      folder: Of the evaluation.
      start: Where the checkpoint was.
      digest: Of its encoder; empty: an older version did not say.
    """
    beside = folder.parent / "checkpoints" / as_path(start).name
    for place in (start, str(beside)) if start else ():
        try:
            run = load(place)
        except CheckpointError:
            continue
        if digest in ("", _digest(run.encoder)):
            return run
    raise CheckpointError(
        message(
            f"{folder}, a linear classifier on {start or 'an untrained encoder'}, "
            "which is gone or another one now",
            "the encoder that it was trained on",
            "mode=linear again",
        )
    )


def _digest(encoder: keras.Model) -> str:
    return vectors.weights_digest({FEATURES: encoder})
