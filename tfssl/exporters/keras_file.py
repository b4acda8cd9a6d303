"""Writes the encoder as a `.keras` file, a trainable model with named stages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from tfssl.exporters.folder import Check, Text, write_folder
from tfssl.models import Encoder

FILE = "encoder.keras"


def export_keras(
    encoder: keras.Model,
    path: str | Path,
    *,
    metadata: Mapping[str, Any],
    texts: Mapping[str, Text] | None = None,
    check: Check | None = None,
) -> Path:
    """Writes `path/encoder.keras`, for images of any size.

    `import tfssl.models`, then `keras.saving.load_model(path)` opens it. It normalises
    images in [0, 1] by itself; files of earlier versions do not, as their
    `metadata.json` says.

    Args:
      encoder: Images in [0, 1] to features.
      path: Folder to write.
      metadata: Goes to `metadata.json` beside it.
      texts: File name to text, beside it.
      check: Looks at it before it takes its place.

    Returns:
      `path`.
    """
    model = encoder
    if isinstance(encoder, Encoder):
        model = Encoder.from_config({**encoder.get_config(), "image_size": None})
        model.set_weights(encoder.get_weights())
    return write_folder(
        path, lambda folder: model.save(folder / FILE), metadata, texts or {}, check
    )
