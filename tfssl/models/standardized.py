"""Linear layers whose kernels are standardised each time they are used.

Weight standardisation (Qiao et al. 2019, arXiv 1903.10520) goes with group
normalisation: it keeps the scale of a layer's output from depending on its weights.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from tfssl.models.convolution import Conv, Shape

EPSILON = 1e-10
"""Small, so that kernels are of variance 1 whatever their size; it only keeps a
constant kernel from dividing by zero."""


def standardize(kernel: tf.Tensor) -> tf.Tensor:
    """Computes `(w - mean) / sqrt(variance + 1e-10)` over the inputs of each output.

    Args:
      kernel: `[..., out]`.

    Returns:
      The same shape and dtype; mean 0 and biased variance 1 for each `out`.
    """
    axes = list(range(kernel.shape.rank - 1))
    mean, variance = tf.nn.moments(kernel, axes, keepdims=True)
    return (kernel - mean) * tf.math.rsqrt(variance + EPSILON)


@keras.saving.register_keras_serializable(package="tfssl")
class StandardizedConv(Conv):
    """A `Conv` by the standardised kernel, which is computed in float32."""

    kernel_options = {"autocast": False}

    def _kernel(self, dtype: tf.DType) -> tf.Tensor:
        return tf.cast(standardize(tf.convert_to_tensor(self.kernel)), dtype)


@keras.saving.register_keras_serializable(package="tfssl")
class StandardizedDense(keras.layers.Layer):
    """`x standardize(W) + b`, `[b, in] -> [b, units]`.

    Args:
      units: Length of the output.
      use_bias: Whether there is a `bias`.
      kernel_initializer: Start of `kernel`, `[in, units]`.
      bias_initializer: Start of `bias`, `[units]`.
      **kwargs: Of `keras.layers.Layer`.
    """

    def __init__(
        self,
        units: int,
        *,
        use_bias: bool = True,
        kernel_initializer: str | keras.initializers.Initializer = "he_normal",
        bias_initializer: str | keras.initializers.Initializer = "zeros",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.units = units
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes `kernel` and `bias`."""
        self.kernel = self.add_weight(
            name="kernel",
            shape=(input_shape[-1], self.units),
            initializer=self.kernel_initializer,
            autocast=False,
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias", shape=(self.units,), initializer=self.bias_initializer
            )
        self.built = True

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Multiplies."""
        kernel = standardize(tf.convert_to_tensor(self.kernel))
        y = tf.matmul(inputs, tf.cast(kernel, inputs.dtype))
        return y if self.bias is None else y + tf.convert_to_tensor(self.bias)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """`[b, units]`."""
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "units": self.units,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
        }
