"""The formats of `--format`: each row writes the same `Inference` in its own way.

`tfssl.config.tables.EXPORT_FORMATS` names them, `tfssl.exporters.reader.OPENERS` opens
what they wrote.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from tfssl.augment.recipes import EvalTransform
from tfssl.core.paths import AnyPath
from tfssl.exporters.folder import Check, Text
from tfssl.exporters.keras_file import export_keras
from tfssl.exporters.litert_file import export_litert
from tfssl.exporters.onnx_file import export_onnx
from tfssl.exporters.saved_model import (
    BEFORE,
    INSIDE,
    export_saved_model,
    preprocessing,
)
from tfssl.exporters.torchvision_file import export_torchvision


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


@dataclasses.dataclass(frozen=True)
class About:
    """What travels with it, whatever the format.

    Attributes:
      metadata: JSON-able.
      texts: File name to text.
      check: Looks at what was written before it takes its place.
    """

    metadata: Mapping[str, Any]
    texts: Mapping[str, Text]
    check: Check | None


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


def keras_file(given: Inference, path: AnyPath, about: About) -> None:
    """Writes a `.keras` file."""
    export_keras(given.encoder, path, **_common(given, about, INSIDE))


def torchvision(given: Inference, path: AnyPath, about: About) -> None:
    """Writes a PyTorch state dict under torchvision's names."""
    common = _common(given, about, BEFORE)
    export_torchvision(given.encoder, path, classifier=given.linear, **common)


def onnx(given: Inference, path: AnyPath, about: About) -> None:
    """Writes an ONNX file."""
    export_onnx(
        given.encoder,
        path,
        image_size=given.image_size,
        classifier=given.classifier,
        several_labels=given.several_labels,
        any_size=given.any_size,
        **_common(given, about, INSIDE),
    )


def litert(given: Inference, path: AnyPath, about: About) -> None:
    """Writes a LiteRT file."""
    export_litert(
        given.encoder,
        path,
        image_size=given.image_size,
        classifier=given.classifier,
        several_labels=given.several_labels,
        dtype=given.dtype,
        sample=given.sample,
        **_common(given, about, INSIDE),
    )


def _common(given: Inference, about: About, images: str) -> dict[str, Any]:
    facts = preprocessing(given.transform, given.image_size, given.encoder, images)
    return {
        "metadata": {**about.metadata, "preprocessing": facts},
        "texts": about.texts,
        "check": about.check,
    }
