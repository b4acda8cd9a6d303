"""Features of the training and held-out images, for kNN while and after training."""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf

from tfssl.augment.recipes import EvalTransform
from tfssl.data import Source, inference, spread
from tfssl.evaluate import Features, extract_features

_BATCH = 256


def features(
    encode: Callable[[tf.Tensor], tf.Tensor],
    source: Source,
    transform: EvalTransform,
    *,
    image_size: int,
    limit: int = 0,
) -> Features:
    """Encodes a source, each example once.

    Args:
      encode: See `assemble.compiled_encode`.
      source: Training or held-out images.
      transform: Of the encoder's family.
      image_size: Side in pixels.
      limit: Only this many examples, spread evenly; 0: all.
    """
    part = spread(source, limit)
    batches = inference(
        part,
        transform,
        batch=min(_BATCH, part.num_examples),
        image_size=image_size,
    )
    return extract_features(encode, batches)


def pixels(image_size: int) -> keras.Model:
    """An "encoder" whose features are the pixels: the baseline of baselines."""
    images = keras.Input((image_size, image_size, 3))
    return keras.Model(images, keras.layers.Flatten()(images), name="raw_pixels")
