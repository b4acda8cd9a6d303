"""Writes a SavedModel that takes image bytes and gives masks of the images' own size.

* `serving_default(image_bytes: string [N])`: encoded images, mixed formats and sizes;
  gives `mask_bytes` string `[N]`, each a grey PNG of class numbers of its image's size.
  What cannot be decoded fails the request.
* `mask(image_bytes: string)`: one image; gives `mask` uint8 `[h, w]`, and `confidence`
  float32 `[h, w]`, the probability of that class.

Decoding, fitting into the canvas, normalisation and resizing to the image's size are
inside. Names of the classes stand in the metadata.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfssl.augment import dense
from tfssl.core.variables import raw
from tfssl.data.decode import decode
from tfssl.exporters.folder import About
from tfssl.exporters.saved_model import write_saved_model


class _Masks(tf.Module):
    """The function of encoded images, and the plain variables that it reads."""

    def __init__(
        self, models: Sequence[keras.Model], size: int, max_pixels: int, orient: str
    ):
        super().__init__()
        # Keras weights fail in session loaders, see `saved_model.FeaturesModule`.
        self.weights = [raw(v) for model in models for v in model.variables]

        def probabilities(data: tf.Tensor) -> tf.Tensor:
            image = decode(data, max_pixels, orient=orient, python=False)
            shown, cut = dense.whole_image(image, (size, size))
            out = shown[None]
            for model in models:
                out = model(out, training=False)
            part = tf.cast(out, tf.float32)[:, : cut.height, : cut.width]
            return tf.image.resize(part, cut.source, "bilinear")[0]

        def one(data: tf.Tensor) -> tf.Tensor:
            classes = tf.argmax(probabilities(data), -1, tf.int32)
            return tf.io.encode_png(tf.cast(classes, tf.uint8)[..., None])

        @tf.function(
            input_signature=[tf.TensorSpec([None], tf.string, "image_bytes")],
            autograph=False,
        )
        def masks(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"mask_bytes": tf.map_fn(one, image_bytes, tf.string)}

        @tf.function(
            input_signature=[tf.TensorSpec([], tf.string, "image_bytes")],
            autograph=False,
        )
        def mask(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
            logits = probabilities(image_bytes)
            best = tf.reduce_max(tf.nn.softmax(logits), -1)
            classes = tf.cast(tf.argmax(logits, -1, tf.int32), tf.uint8)
            return {"mask": classes, "confidence": best}

        self.endpoints = {"serving_default": masks, "mask": mask}


def export_masks(
    models: Sequence[keras.Model],
    path: str,
    about: About,
    *,
    image_size: int,
    max_pixels: int,
    orient: str,
) -> None:
    """Writes a segmenting network as a SavedModel, in float32.

    Args:
      models: Called one after the other: images `[b, S, S, 3]` in [0, 1] to logits
        `[b, S, S, classes]`.
      path: Folder to write; an older SavedModel there is replaced.
      about: Of it; its metadata hold `classes`, their names.
      image_size: S.
      max_pixels: Most pixels that are decoded of an image; 0: no limit.
      orient: `"exif"` turns pictures upright; the mask is of the upright one.

    Raises:
      RunDirectoryError: `path` holds something that is not a SavedModel.
    """
    served = _Masks(models, image_size, max_pixels, orient)
    facts: dict[str, Any] = {
        "max_image_pixels": max_pixels,
        "orient": orient,
        "signatures": {
            "serving_default": "image_bytes: string [N] to mask_bytes: string [N], PNG",
            "mask": "image_bytes: string to mask: uint8 [h, w], confidence: [h, w]",
        },
    }
    write_saved_model(served, path, about, **facts)
