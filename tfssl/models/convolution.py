"""Convolution and pooling with the paddings that the official networks use.

At even sizes a stride of 2 leaves a choice: `"same"` pads one pixel more at the bottom
right, `"symmetric"` pads (k - 1) // 2 first. The two sample different pixels, so
weights trained with one lose several points of accuracy under the other
(google-deepmind/deepmind-research issue 84: 74.6 % against 70 %).
"""

from __future__ import annotations

import keras
import tensorflow as tf

Shape = tuple[int | None, ...]
"""Of a batch; None where it is not known."""

PADDINGS = ("same", "symmetric")


def _check_padding(padding: str) -> str:
    if padding not in PADDINGS:
        raise ValueError(f"got padding={padding!r}; expected one of {PADDINGS}")
    return padding


def _strided(size: int | None, stride: int) -> int | None:
    return None if size is None else -(-size // stride)


def _explicit(kernel_size: int) -> list[list[int]]:
    before = (kernel_size - 1) // 2
    both = [before, kernel_size - 1 - before]
    return [[0, 0], both, both, [0, 0]]


@keras.saving.register_keras_serializable(package="tfssl")
class Conv(keras.layers.Layer):
    """2-D convolution without bias, `[b, H, W, C] -> [b, H/s, W/s, filters]`.

    Args:
      filters: Channels out.
      kernel_size: Side of the square kernel, odd.
      stride: Step along both axes; sizes are divided by it, rounding up.
      padding: `"same"` (TensorFlow's, BYOL) or `"symmetric"` (SimCLR, torch); equal
        at stride 1.
      dilation: Distance of the pixels under the kernel; more than 1 at stride 1 only.
        (Keras 3's own layer is up to 140 times slower at it on a CPU.)
      kernel_initializer: Start of `kernel`, `[k, k, C, filters]`.
      **kwargs: Of `keras.layers.Layer`.
    """

    kernel_options: dict = {}

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        stride: int = 1,
        padding: str = "same",
        kernel_initializer: str | keras.initializers.Initializer = "he_normal",
        dilation: int = 1,
        **kwargs,
    ):
        if dilation > 1 and stride > 1:
            raise ValueError(
                f"got dilation={dilation} with stride={stride}; expected one of them "
                "to be 1; try stride=1"
            )
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = _check_padding(padding)
        self.dilation = dilation
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes `kernel`."""
        side = self.kernel_size
        self.kernel = self.add_weight(
            name="kernel",
            shape=(side, side, input_shape[-1], self.filters),
            initializer=self.kernel_initializer,
            **self.kernel_options,
        )
        self.built = True

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Convolves."""
        x, padding = inputs, _explicit(self.kernel_size)
        if self.stride == 1 or self.padding == "same" or self.kernel_size == 1:
            padding = "SAME"
        elif x.dtype.size < 4:
            # On CPU, bfloat16 with explicit padding leaves oneDNN: 40 to 200 times
            # slower forward and backward (measured, TensorFlow 2.21).
            x, padding = tf.pad(x, padding), "VALID"
        kernel = self._kernel(x.dtype)
        return tf.nn.conv2d(x, kernel, self.stride, padding, dilations=self.dilation)

    def _kernel(self, dtype: tf.DType) -> tf.Tensor:
        del dtype  # read under mixed precision, the variable has it already
        return tf.convert_to_tensor(self.kernel)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """`[b, ceil(H / s), ceil(W / s), filters]`."""
        batch, height, width, _ = input_shape
        return (
            batch,
            _strided(height, self.stride),
            _strided(width, self.stride),
            self.filters,
        )

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


@keras.saving.register_keras_serializable(package="tfssl")
class MaxPool(keras.layers.Layer):
    """3x3 maximum with stride 2, `[b, H, W, C] -> [b, H/2, W/2, C]`, of x >= 0.

    Args:
      padding: `"same"` (SimCLR and BYOL: (0, 1) at even sizes) or `"symmetric"`
        (torch: (1, 1)). The padding is zeros, so inputs must follow a ReLU.
      **kwargs: Of `keras.layers.Layer`.
    """

    def __init__(self, padding: str = "same", **kwargs):
        super().__init__(**kwargs)
        self.padding = _check_padding(padding)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Pools."""
        if self.padding == "same":
            return tf.nn.max_pool2d(inputs, 3, 2, "SAME")
        return tf.nn.max_pool2d(tf.pad(inputs, _explicit(3)), 3, 2, "VALID")

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """`[b, ceil(H / 2), ceil(W / 2), C]`."""
        batch, height, width, channels = input_shape
        return (batch, _strided(height, 2), _strided(width, 2), channels)

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {**super().get_config(), "padding": self.padding}


@keras.saving.register_keras_serializable(package="tfssl")
class GlobalMean(keras.layers.Layer):
    """Mean over all positions, `[b, H, W, C] -> [b, C]`, summed in float32."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Averages; the dtype stays."""
        x = inputs
        if x.dtype.size < 4:
            x = tf.cast(x, tf.float32)
        return tf.cast(tf.reduce_mean(x, [1, 2]), inputs.dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """`[b, C]`."""
        return (input_shape[0], input_shape[-1])
