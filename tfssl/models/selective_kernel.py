"""The weightless pieces of selective-kernel networks and of the ResNet-D shortcut.

SimCLR v2 (Chen et al. 2020, arXiv 2006.10029), google-research/simclr
`tf2/resnet.py`: both streams are 3x3 convolutions, without dilation, made by one kernel
of 2F filters.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from tfssl.models.convolution import Shape

SK_RATIO = 1 / 16
SK_MIN_WIDTH = 32


def gate_width(filters: int) -> int:
    """Channels of the gate's middle: `max(int(filters / 16), 32)`."""
    return max(int(filters * SK_RATIO), SK_MIN_WIDTH)


@keras.saving.register_keras_serializable(package="tfssl")
class StreamPool(keras.layers.Layer):
    """Mean over positions of two streams' sum, `[b, H, W, 2F] -> [b, 1, 1, F]`."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Adds the two halves of the channels and averages, in float32 at least."""
        x = inputs
        if x.dtype.size < 4:
            x = tf.cast(x, tf.float32)
        mean = tf.reduce_mean(x, [1, 2], keepdims=True)
        first, second = tf.split(mean, 2, axis=-1)
        return tf.cast(first + second, inputs.dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """`[b, 1, 1, F]`."""
        return (input_shape[0], 1, 1, input_shape[-1] // 2)


@keras.saving.register_keras_serializable(package="tfssl")
class StreamMix(keras.layers.Layer):
    """`[b, H, W, 2F]` and gates `[b, 1, 1, 2F]` to the mixture `[b, H, W, F]`.

    Per channel, the softmax of the two gates weighs the two streams.
    """

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        """Mixes."""
        streams, gates = inputs
        first, second = tf.split(streams, 2, axis=-1)
        gate1, gate2 = tf.split(gates, 2, axis=-1)
        # The softmax over two is a sigmoid of the difference.
        share = tf.sigmoid(gate1 - gate2)
        return first * share + second * (1 - share)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """`[b, H, W, F]`."""
        streams, _ = input_shape
        return (*streams[:-1], streams[-1] // 2)


@keras.saving.register_keras_serializable(package="tfssl")
class ShortcutPool(keras.layers.Layer):
    """2x2 mean before the 1x1 of a shortcut, `[b, H, W, C] -> [b, H/s, W/s, C]`.

    Stride 1 averages over the valid cells only at the bottom and right edge; stride 2
    pads with zeros that count, which matters at odd sizes only.

    Args:
      stride: 1 or 2.
      **kwargs: Of `keras.layers.Layer`.
    """

    def __init__(self, stride: int, **kwargs):
        super().__init__(**kwargs)
        self.stride = stride

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Averages."""
        if self.stride == 1:
            return tf.nn.avg_pool2d(inputs, 2, 1, "SAME")
        padded = tf.pad(inputs, [[0, 0], [0, 1], [0, 1], [0, 0]])
        return tf.nn.avg_pool2d(padded, 2, self.stride, "VALID")

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """`[b, ceil(H / s), ceil(W / s), C]`."""
        batch, height, width, channels = input_shape
        if self.stride == 1:
            return tuple(input_shape)
        height = None if height is None else (height + 1) // 2
        width = None if width is None else (width + 1) // 2
        return (batch, height, width, channels)

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {**super().get_config(), "stride": self.stride}
