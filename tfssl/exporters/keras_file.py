"""Writes the encoder as a `.keras` file, a trainable model with named stages."""

from __future__ import annotations

from tfssl.core.paths import AnyPath
from tfssl.exporters.formats import INSIDE, About, Inference, write_file
from tfssl.models import Encoder

FILE = "encoder.keras"


def export_keras(given: Inference, path: AnyPath, about: About) -> None:
    """Writes `path/encoder.keras`, for images of any size.

    `import tfssl.models`, then `keras.saving.load_model(path)` opens it. It normalises
    images in [0, 1] by itself; files of earlier versions do not, as their
    `metadata.json` says.
    """
    model = given.encoder
    if isinstance(model, Encoder):
        model = Encoder.from_config({**model.get_config(), "image_size": None})
        model.set_weights(given.encoder.get_weights())
    write_file(given, path, about, INSIDE, lambda folder: model.save(folder / FILE))
