"""Writes the encoder as an ONNX file, for onnxruntime and what else reads it."""

from __future__ import annotations

from pathlib import Path

from tfssl.config.tables import import_extra
from tfssl.core.paths import AnyPath
from tfssl.exporters.formats import INSIDE, About, Inference, write_file
from tfssl.exporters.saved_model import FeaturesModule

FILE = "encoder.onnx"
OPSET = 17
"""Of the ONNX standard: old enough for every runtime since 2022."""


def export_onnx(given: Inference, path: AnyPath, about: About) -> None:
    """Writes `path/encoder.onnx`.

    Its input is `images` float32 `[N, H, W, 3]`, RGB in [0, 1], normalised inside; its
    outputs are `features` `[N, F]` and, with a classifier, `probabilities` `[N, C]`.

    Raises:
      TfsslError: tf2onnx or onnx is missing.
    """
    tf2onnx = import_extra("tf2onnx.convert", "onnx", "format=onnx")
    module = FeaturesModule(given, any_size=given.any_size)
    function = module.endpoints["features"]

    def write(folder: Path) -> None:
        tf2onnx.from_function(
            function,
            function.input_signature,
            opset=OPSET,
            output_path=str(folder / FILE),
        )

    write_file(given, path, about, INSIDE, write)
