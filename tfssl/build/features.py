"""Features of images: what kNN, probes, report and conversion look at."""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf

from tfssl.augment import photometry
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
      encode: See `compiled_encode`.
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


def compiled_encode(
    model: keras.Model, evaluation: EvalTransform
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Images in [0, 1] to float32 features, in inference mode."""

    @tf.function
    def encode(images):
        normalised = photometry.normalize(images, evaluation.mean, evaluation.std)
        return tf.cast(model(normalised, training=False), tf.float32)

    return encode
