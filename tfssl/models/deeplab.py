"""DeepLabV3+'s head: from two stages of an encoder to logits of every pixel.

Chen et al. 2018 (arXiv 1802.02611). The deep map passes convolutions with several
dilations beside its mean (ASPP), is enlarged to the shallow one, which has few channels
by then, and both pass two convolutions of 3x3. Here, unlike there, the encoder keeps
its stride of 32, the two convolutions are whole and not separable, and there is no
dropout. Every size is enlarged by products with constant matrices: any device computes
them, forward and backward, in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from tfssl.core.seeds import init_seed
from tfssl.models.blocks import Parts
from tfssl.models.convolution import GlobalMean, Shape

LEVELS = ("P2", "P5")
"""The shallow and the deep stage, see `Encoder.pyramid_level_inputs`."""

RATES = (6, 12, 18)
"""Dilations, published for a map of 33 x 33 (513 pixels at a stride of 16)."""
_PUBLISHED_SIDE = 33


def dilations(side: int) -> tuple[int, ...]:
    """The published dilations in proportion to the side of the deep map, at least 1."""
    return tuple(max(1, round(rate * side / _PUBLISHED_SIDE)) for rate in RATES)


def bilinear_matrix(size: int, new: int) -> np.ndarray:
    """Weights of bilinear resizing along one axis, as `tf.image.resize` has them.

    Pixel centres are at halves; beyond the first and the last the border's value
    counts. Nothing is averaged where the result is smaller.

    Returns:
      float32 `[new, size]`, rows sum to 1.
    """
    place = np.clip((np.arange(new) + 0.5) * size / new - 0.5, 0, size - 1)
    low = np.minimum(place.astype(int), max(size - 2, 0))
    weights = np.zeros((new, size), np.float32)
    weights[np.arange(new), low] = 1 - (place - low)
    weights[np.arange(new), np.minimum(low + 1, size - 1)] += place - low
    return weights


@keras.saving.register_keras_serializable(package="tfssl")
class Enlarge(keras.layers.Layer):
    """Resizes `[b, h, w, C]` bilinearly to `[b, height, width, C]`.

    Args:
      height: Rows of the result.
      width: Columns.
      **kwargs: Of `keras.layers.Layer`.
    """

    def __init__(self, height: int, width: int, **kwargs):
        super().__init__(**kwargs)
        self.height, self.width = height, width

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Resizes; the dtype stays."""
        rows = tf.constant(bilinear_matrix(inputs.shape[1], self.height), inputs.dtype)
        columns = tf.constant(
            bilinear_matrix(inputs.shape[2], self.width), inputs.dtype
        )
        tall = tf.einsum("ih,bhwc->biwc", rows, inputs)
        return tf.einsum("jw,biwc->bijc", columns, tall)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """`[b, height, width, C]`."""
        return (input_shape[0], self.height, self.width, input_shape[-1])

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {**super().get_config(), "height": self.height, "width": self.width}


def deeplab_head(
    maps: Sequence[tuple[int, int, int]],
    classes: int,
    parts: Parts,
    *,
    size: tuple[int, int],
    width: int = 256,
    name: str = "segmenter",
) -> keras.Model:
    """Builds the head.

    Args:
      maps: Height, width and channels of the stages `LEVELS`.
      classes: Number of classes.
      parts: Makes its layers, with the encoder's normalisation.
      size: Height and width of the images.
      width: Channels of its convolutions; a fifth of it for the shallow stage.
      name: Of the model, and in front of its layers' names.

    Returns:
      `[P2, P5]` to logits `[b, *size, classes]`, float32.
    """
    shallow, deep = (
        keras.Input(shape, name=level)
        for level, shape in zip(LEVELS, maps, strict=True)
    )
    side = deep.shape[1:3]
    branches = [parts.conv_norm_relu(deep, f"{name}_aspp", 0, width, 1)]
    for number, rate in enumerate(dilations(min(side)), 1):
        x = parts.conv_norm_relu(deep, f"{name}_aspp", number, width, 3, dilation=rate)
        branches.append(x)
    mean = GlobalMean(name=f"{name}_aspp_mean", dtype=parts.dtype)(deep)
    mean = keras.layers.Reshape((1, 1, deep.shape[-1]), name=f"{name}_aspp_flat")(mean)
    mean = parts.conv_norm_relu(mean, f"{name}_aspp", len(branches), width, 1)
    branches.append(Enlarge(*side, name=f"{name}_aspp_spread", dtype=parts.dtype)(mean))
    x = keras.layers.Concatenate(name=f"{name}_aspp_all", dtype=parts.dtype)(branches)
    x = parts.conv_norm_relu(x, f"{name}_project", "", width, 1)
    x = Enlarge(*shallow.shape[1:3], name=f"{name}_enlarge", dtype=parts.dtype)(x)
    few = max(width * 48 // 256, 4)
    fine = parts.conv_norm_relu(shallow, f"{name}_shallow", "", few, 1)
    x = keras.layers.Concatenate(name=f"{name}_both", dtype=parts.dtype)([x, fine])
    for number in (1, 2):
        x = parts.conv_norm_relu(x, f"{name}_decode", number, width, 3)
    kernel = f"{name}_logits/kernel"
    logits = keras.layers.Conv2D(
        classes,
        1,
        kernel_initializer=keras.initializers.RandomNormal(
            0.0, 0.01, init_seed(parts.seed, kernel)
        ),
        name=f"{name}_logits",
        dtype=parts.dtype,
    )(x)
    logits = Enlarge(*size, name=f"{name}_pixels", dtype="float32")(logits)
    return keras.Model([shallow, deep], logits, name=name)
