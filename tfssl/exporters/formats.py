"""What every format of `--format` writes, each in its own way.

`tfssl.config.tables.EXPORT_FORMATS` names them: functions of an `Inference`, a path and
an `About`. `tfssl.exporters.reader.OPENERS` opens what they wrote.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfssl.augment.recipes import EvalTransform
from tfssl.core.paths import AnyPath
from tfssl.data.formats import MAX_PIXELS
from tfssl.exporters.folder import About, write_folder
from tfssl.models import normalization_of


@dataclasses.dataclass(frozen=True, eq=False)
class Inference:
    """A trained encoder as it is to be used elsewhere.

    Attributes:
      encoder: Functional model, images `[b, S, S, 3]` in [0, 1], which it normalises,
        to features `[b, F]`.
      transform: Resize and crop of encoded images.
      image_size: S.
      classifier: Features to logits `[b, C]`, or None.
      several_labels: Whether an image may have several of its classes, see
        `models.heads.probabilities`.
      any_size: Whether the encoder takes images of other sizes, too.
      max_pixels: Most pixels that are decoded of an image; 0: no limit.
      orient: Whether pictures are turned upright, `"exif"`.
      on_error: `"fail"` or `"zeros"`: what an undecodable image does to a request.
      dtype: Of the numbers in the file.
      sample: Gives images like those to come, `[n, S, S, 3]`, for `dtype="int8"`.
      linear: Kernel `[F, C]` and bias `[C]` of a classifier right behind the encoder.
    """

    encoder: keras.Model
    transform: EvalTransform
    image_size: int
    classifier: keras.Model | None = None
    several_labels: bool = False
    any_size: bool = True
    max_pixels: int = MAX_PIXELS
    orient: str = "none"
    on_error: str = "fail"
    dtype: str = "float32"
    sample: Callable[[], np.ndarray] | None = None
    linear: tuple[np.ndarray, np.ndarray] | None = None


INSIDE = "RGB in [0, 1]; normalised inside"
BEFORE = "RGB in [0, 1], then normalised: (x - mean) / std"
"""What an exported file takes: the network with its first layer, or without it."""


def preprocessing(given: Inference, images: str) -> dict[str, Any]:
    """Tells what happens to an image before the network, for `metadata.json`.

    Args:
      given: Holds resize and crop, and in its encoder the normalisation.
      images: What the exported file takes, `INSIDE` or `BEFORE`.
    """
    mean, std = normalization_of(given.encoder)
    if mean is std is None:
        images = "RGB in [0, 1]"
    return {
        "images": images,
        "image_size": given.image_size,
        "crop_fraction": given.transform.crop_fraction,
        "resize": given.transform.resize,
        "antialias": given.transform.antialias,
        "resize_first": given.transform.resize_first,
        "mean": mean,
        "std": std,
    }


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
    write_folder(path, write, about, preprocessing=preprocessing(given, images))
