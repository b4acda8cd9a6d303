"""Writes a SavedModel that takes image bytes and gives boxes in the images' own pixels.

`serving_default(image_bytes: string [N])`: encoded images, mixed formats and sizes;
gives, the best first and zeros behind the last,

* `boxes` float32 `[N, 100, 4]`: y0, x0, y1, x1 in pixels of the image, ends exclusive;
* `scores` float32 `[N, 100]` in [0, 1];
* `classes` int64 `[N, 100]`, whose names stand in the metadata;
* `count` int64 `[N]`: how many there are.

Decoding, fitting into the canvas, normalisation and the suppression of boxes of one
object are inside. What cannot be decoded fails the request.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tfssl.augment import dense
from tfssl.data.decode import decode
from tfssl.exporters.folder import About
from tfssl.exporters.saved_model import write_saved_model

Detect = Callable[[tf.Tensor], dict[str, tf.Tensor]]
"""Images `[b, S, S, 3]` in [0, 1] to `boxes`, `scores`, `classes`, `count`."""


class _Boxes(tf.Module):
    """The function of encoded images, and the plain variables that it reads."""

    def __init__(
        self,
        detect: Detect,
        weights: Sequence[tf.Variable],
        size: int,
        max_pixels: int,
    ):
        super().__init__()
        # Keras weights fail in session loaders, see `saved_model.FeaturesModule`.
        self.weights = list(weights)
        canvas = (size, size)

        def prepared(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            image = decode(data, max_pixels, orient="exif", python=False)
            pixels, cut = dense.whole_image(image, canvas)
            return pixels, cut.source, tf.stack([cut.height, cut.width])

        of = (
            tf.TensorSpec([size, size, 3], tf.float32),
            tf.TensorSpec([2], tf.int32),
            tf.TensorSpec([2], tf.int32),
        )

        @tf.function(
            input_signature=[tf.TensorSpec([None], tf.string, "image_bytes")],
            autograph=False,
        )
        def from_bytes(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
            # oneDNN's batch normalisation fails on a batch of none.
            images, source, shown = tf.map_fn(
                prepared, image_bytes, fn_output_signature=of
            )
            count = tf.shape(images)[0]
            spare = tf.zeros([tf.cast(count < 1, tf.int32), size, size, 3])
            found = detect(tf.concat([images, spare], 0))
            found = {name: value[:count] for name, value in found.items()}
            boxes = dense.restored_boxes(found["boxes"], source, shown)
            return found | {"boxes": boxes}

        self.endpoints = {"serving_default": from_bytes}


def export_boxes(
    detect: Detect,
    weights: Sequence[tf.Variable],
    path: str,
    about: About,
    *,
    image_size: int,
    max_pixels: int,
) -> None:
    """Writes a detector as a SavedModel. Pictures are turned upright by their EXIF.

    Args:
      detect: The detector in float32.
      weights: The variables that it reads.
      path: Folder to write; an older SavedModel there is replaced.
      about: Of it; its metadata hold `classes`, their names.
      image_size: S.
      max_pixels: Most pixels that are decoded of an image; 0: no limit.

    Raises:
      RunDirectoryError: `path` holds something that is not a SavedModel.
    """
    served = _Boxes(detect, weights, image_size, max_pixels)
    facts: dict[str, Any] = {
        "max_image_pixels": max_pixels,
        "orient": "exif",
        "boxes": "y0, x0, y1, x1 in pixels of the upright image, ends exclusive",
        "signatures": {
            "serving_default": "image_bytes: string [N] to boxes: float32 "
            "[N, 100, 4], scores: float32 [N, 100], classes: int64 [N, 100], "
            "count: int64 [N]"
        },
    }
    write_saved_model(served, path, about, **facts)
