"""The encoder's first layer: images in [0, 1] to what its recipe trained it with."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfssl.models.convolution import Shape

Rgb = tuple[float, float, float] | None


def normalize(images: tf.Tensor, mean: Rgb, std: Rgb) -> tf.Tensor:
    """Computes `(x - mean) / std` per channel; the identity where both are None.

    Args:
      images: `[..., 3]` float32, RGB in [0, 1].
      mean: Of each channel, or None.
      std: Deviation of each channel, or None.

    Returns:
      The images' shape, float32.
    """
    if mean is not None:
        images = images - np.asarray(mean, np.float32)
    if std is not None:
        images = images / np.asarray(std, np.float32)
    return images


@keras.saving.register_keras_serializable(package="tfssl")
class Normalize(keras.layers.Layer):
    """`normalize` as a layer without weights, in float32 whatever the precision.

    Args:
      mean: RGB, or None.
      std: RGB, or None.
      name: Of the layer.
      **kwargs: Of `keras.layers.Layer`.
    """

    def __init__(self, mean: Rgb, std: Rgb, name: str = "normalize", **kwargs: Any):
        super().__init__(name=name, **{**kwargs, "dtype": "float32"})
        self.mean = None if mean is None else tuple(mean)
        self.std = None if std is None else tuple(std)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Normalises `[b, H, W, 3]`."""
        return normalize(inputs, self.mean, self.std)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The shape of the input."""
        return tuple(input_shape)

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {**super().get_config(), "mean": self.mean, "std": self.std}


def normalization_of(encoder: keras.Model) -> tuple[Rgb, Rgb]:
    """Returns the mean and deviation that an encoder normalises by; None for none."""
    for layer in encoder.layers:
        if isinstance(layer, Normalize):
            return layer.mean, layer.std
    return None, None
