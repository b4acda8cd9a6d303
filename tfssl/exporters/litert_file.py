"""Writes the encoder as a LiteRT (TFLite) file, for telephones and small machines."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfssl.core.paths import AnyPath
from tfssl.exporters.formats import INSIDE, About, Inference, write_file
from tfssl.exporters.saved_model import FeaturesModule

FILE = "encoder.tflite"
SIGNATURE = "features"


def export_litert(given: Inference, path: AnyPath, about: About) -> None:
    """Writes `path/encoder.tflite` with the signature `features`.

    Its input is `images` float32 `[N, S, S, 3]`, RGB in [0, 1], normalised inside; its
    outputs are `features` float32 `[N, F]` and, with a classifier, `probabilities`. Of
    `given.dtype` are, as `float16`, weights alone; as `int8` weights, one scale a
    channel, and what flows between layers, in the ranges that `given.sample` shows.
    """
    module = FeaturesModule(given, any_size=False)

    def images() -> Iterator[list[np.ndarray]]:
        for image in np.asarray(given.sample(), np.float32):
            yield [image[None]]

    def write(folder: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="tfssl-") as saved:
            # From concrete functions it writes a file without weights that gives NaN.
            tf.saved_model.save(module, saved, signatures=module.endpoints)
            converter = tf.lite.TFLiteConverter.from_saved_model(
                saved, signature_keys=[SIGNATURE]
            )
            if given.dtype != "float32":
                converter.optimizations = [tf.lite.Optimize.DEFAULT]
            if given.dtype == "float16":
                converter.target_spec.supported_types = [tf.float16]
            if given.dtype == "int8":
                converter.representative_dataset = images
            (folder / FILE).write_bytes(converter.convert())

    write_file(given, path, about, INSIDE, write)
