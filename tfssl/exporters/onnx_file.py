"""Writes the encoder as an ONNX file, for onnxruntime and what else reads it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from tfssl.config.tables import import_extra
from tfssl.core.paths import AnyPath
from tfssl.exporters.folder import Check, Text, write_folder
from tfssl.exporters.saved_model import FeaturesModule, inference_clones

FILE = "encoder.onnx"
OPSET = 17
"""Of the ONNX standard: old enough for every runtime since 2022."""


def export_onnx(
    encoder: keras.Model,
    path: str | AnyPath,
    *,
    image_size: int,
    metadata: Mapping[str, Any],
    classifier: keras.Model | None = None,
    several_labels: bool = False,
    texts: Mapping[str, Text] | None = None,
    any_size: bool = True,
    check: Check | None = None,
) -> AnyPath:
    """Writes `path/encoder.onnx`.

    Its input is `images` float32 `[N, H, W, 3]`, RGB in [0, 1], normalised inside; its
    outputs are `features` `[N, F]` and, with a classifier, `probabilities` `[N, C]`.

    Args:
      encoder: As of `export_saved_model`, as all arguments of the same names.
      path: Folder to write.
      image_size: Side of the images, where they must have this one.
      metadata: Goes to `metadata.json` beside it.
      classifier: Features to logits.
      several_labels: As of `export_saved_model`.
      texts: File name to text, beside it.
      any_size: Whether images may have any size.
      check: Looks at it before it takes its place.

    Returns:
      `path`.

    Raises:
      TfsslError: tf2onnx or onnx is missing.
    """
    tf2onnx = import_extra("tf2onnx.convert", "onnx", "format=onnx")
    module = FeaturesModule(
        *inference_clones(encoder, classifier, any_size=any_size),
        None if any_size else image_size,
        several_labels,
    )
    function = module.endpoints["features"]

    def write(folder: Path) -> None:
        tf2onnx.from_function(
            function,
            function.input_signature,
            opset=OPSET,
            output_path=str(folder / FILE),
        )

    return write_folder(path, write, metadata, texts or {}, check)
