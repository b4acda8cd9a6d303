"""What every format of `--format` writes, each in its own way.

`tfssl.config.tables.EXPORT_FORMATS` names them: functions of an `Inference`, a path and
an `About`. `tfssl.exporters.reader.OPENERS` opens what they wrote.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from tfssl.augment.recipes import EvalTransform
from tfssl.core.paths import AnyPath
from tfssl.exporters.folder import About, write_folder
from tfssl.exporters.saved_model import export_saved_model, preprocessing


@dataclasses.dataclass(frozen=True, eq=False)
class Inference:
    """A trained encoder as it is to be used elsewhere.

    Attributes:
      encoder: Images `[b, S, S, 3]` in [0, 1], which it normalises, to features.
      classifier: Features to logits, or None.
      several_labels: Whether an image may have several of its classes.
      transform: Resize and crop of encoded images.
      image_size: S.
      any_size: Whether the encoder takes images of other sizes, too.
      max_pixels: Most pixels that are decoded of an image; 0: no limit.
      orient: Whether pictures are turned upright, `"exif"`.
      on_error: `"fail"` or `"zeros"`: what an undecodable image does to a request.
      dtype: Of the numbers in the file.
      sample: Gives images like those to come, `[n, S, S, 3]`, for `dtype="int8"`.
      linear: Kernel `[F, C]` and bias `[C]` of a classifier right behind the encoder.
    """

    encoder: keras.Model
    classifier: keras.Model | None
    several_labels: bool
    transform: EvalTransform
    image_size: int
    any_size: bool
    max_pixels: int
    orient: str
    on_error: str
    dtype: str
    sample: Callable[[], np.ndarray]
    linear: tuple[np.ndarray, np.ndarray] | None


def saved_model(given: Inference, path: AnyPath, about: About) -> None:
    """Writes a SavedModel: bytes in, features out."""
    export_saved_model(
        given.encoder,
        given.transform,
        str(path),
        image_size=given.image_size,
        metadata=dict(about.metadata),
        classifier=given.classifier,
        several_labels=given.several_labels,
        texts=about.texts,
        any_size=given.any_size,
        max_pixels=given.max_pixels,
        orient=given.orient,
        on_error=given.on_error,
        check=about.check,
    )


def write_file(
    given: Inference,
    path: AnyPath,
    about: About,
    images: str,
    write: Callable[[Path], object],
) -> None:
    """Writes a folder with a file of one network; see `write_folder`.

    Args:
      given: What is in the file.
      path: As all others, of `write_folder`.
      about: What stands beside it.
      images: What the file takes, `INSIDE` or `BEFORE`.
      write: Writes the file.
    """
    facts = preprocessing(given.transform, given.image_size, given.encoder, images)
    write_folder(path, write, about, preprocessing=facts)
