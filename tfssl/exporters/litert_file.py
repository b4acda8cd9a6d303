"""Writes the encoder as a LiteRT (TFLite) file, for telephones and small machines."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfssl.core.paths import AnyPath
from tfssl.errors import TfsslError, message
from tfssl.exporters.folder import Check, Text, write_folder
from tfssl.exporters.saved_model import FeaturesModule, inference_clones

FILE = "encoder.tflite"
SIGNATURE = "features"


def export_litert(
    encoder: keras.Model,
    path: str | AnyPath,
    *,
    image_size: int,
    metadata: Mapping[str, Any],
    classifier: keras.Model | None = None,
    several_labels: bool = False,
    texts: Mapping[str, Text] | None = None,
    dtype: str = "float32",
    sample: Callable[[], np.ndarray] | None = None,
    check: Check | None = None,
) -> AnyPath:
    """Writes `path/encoder.tflite` with the signature `features`.

    Its input is `images` float32 `[N, S, S, 3]`, RGB in [0, 1], normalised inside; its
    outputs are `features` float32 `[N, F]` and, with a classifier, `probabilities`.

    Args:
      encoder: As of `export_saved_model`, as all arguments of the same names.
      path: Folder to write.
      image_size: S.
      metadata: Goes to `metadata.json` beside it.
      classifier: Features to logits.
      several_labels: As of `export_saved_model`.
      texts: File name to text, beside it.
      dtype: Of the numbers in the file. `float16`: weights alone. `int8`: weights, one
        scale a channel, and what flows between layers, in the ranges that `sample`
        shows.
      sample: Images `[n, S, S, 3]` in [0, 1] like those to come; only for `int8`.
      check: Looks at it before it takes its place.

    Returns:
      `path`.

    Raises:
      TfsslError: `int8` without `sample`.
    """
    if dtype == "int8" and sample is None:
        raise TfsslError(
            message("dtype=int8 without sample", "images like those to come", "float16")
        )
    module = FeaturesModule(
        *inference_clones(encoder, classifier, any_size=False),
        image_size,
        several_labels,
    )

    def images() -> Iterator[list[np.ndarray]]:
        for image in np.asarray(sample(), np.float32):
            yield [image[None]]

    def write(folder: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="tfssl-") as saved:
            # From concrete functions it writes a file without weights that gives NaN.
            tf.saved_model.save(module, saved, signatures=module.endpoints)
            converter = tf.lite.TFLiteConverter.from_saved_model(
                saved, signature_keys=[SIGNATURE]
            )
            if dtype != "float32":
                converter.optimizations = [tf.lite.Optimize.DEFAULT]
            if dtype == "float16":
                converter.target_spec.supported_types = [tf.float16]
            if dtype == "int8":
                converter.representative_dataset = images
            (folder / FILE).write_bytes(converter.convert())

    return write_folder(path, write, metadata, texts or {}, check)
