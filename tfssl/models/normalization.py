"""Layers in the place of the official networks' BatchNorm: a table, one row a choice.

Group normalisation, and nothing but the scale, look at one example at a time: no
statistics of the batch, none that move, training and inference are the same, and so
are one replica and several.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfssl.errors import ConfigError, unknown
from tfssl.models.batchnorm import BatchNorm
from tfssl.models.convolution import Conv, Shape
from tfssl.models.standardized import StandardizedConv, StandardizedDense

MAX_GROUPS = 16
"""Of BYOL with group normalisation (Richemond et al. 2020, arXiv 2010.10241)."""

MIN_GROUP = 4
"""Channels in a group at least: what a 64-channel map has with 16 groups. Two of a
vector would be normalised to +1 and -1, whatever they were, and one to 0."""


def group_count(channels: int) -> int:
    """Groups for a number of channels: its largest divisor g <= 16 with C / g >= 4.

    16 for every multiple of 64, so for all published widths; fewer for narrow layers
    and numbers without such divisors, down to 1 (layer normalisation).
    """
    fits = (g for g in range(1, MAX_GROUPS + 1) if channels % g == 0)
    return max((g for g in fits if channels // g >= MIN_GROUP), default=1)


@keras.saving.register_keras_serializable(package="tfssl")
class Affine(keras.layers.Layer):
    """`y = gamma * x + beta` per channel: a BatchNorm without its normalisation.

    Args:
      center: Whether there is a `beta`.
      gamma_initializer: Start of `gamma`; `"zeros"` makes a residual block start as
        the identity.
      **kwargs: Of `keras.layers.Layer`.
    """

    def __init__(
        self,
        *,
        center: bool = True,
        gamma_initializer: str | keras.initializers.Initializer = "ones",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.center = center
        self.gamma_initializer = keras.initializers.get(gamma_initializer)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes `gamma` and `beta`, each `[C]`."""
        options = {"shape": (input_shape[-1],), "autocast": False}  # not rounded
        self.gamma = self.add_weight(
            name="gamma", initializer=self.gamma_initializer, **options
        )
        self.beta = None
        if self.center:
            self.beta = self.add_weight(name="beta", initializer="zeros", **options)
        self.built = True

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Scales and shifts `[b, C]` or `[b, H, W, C]`; the dtype stays."""
        y = self._normalized(tf.cast(inputs, self.variable_dtype))
        y *= tf.convert_to_tensor(self.gamma)
        if self.beta is not None:
            y += tf.convert_to_tensor(self.beta)
        return tf.cast(y, inputs.dtype)

    def _normalized(self, x: tf.Tensor) -> tf.Tensor:
        return x

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The shape of the input."""
        return tuple(input_shape)

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "center": self.center,
            "gamma_initializer": keras.initializers.serialize(self.gamma_initializer),
        }


@keras.saving.register_keras_serializable(package="tfssl")
class GroupNorm(Affine):
    """`y = gamma * (x - mean) / sqrt(variance + epsilon) + beta` (Wu and He 2018).

    Mean and biased variance of one example: over all positions and the channels of one
    group, consecutive ones. They are float32 under mixed precision.

    Args:
      groups: Number of groups; None for `group_count` of the channels.
      epsilon: Added to the variance, >= 0.
      **kwargs: Of `Affine`.

    Raises:
      ValueError: When built, the channels cannot be divided into so many groups.
    """

    def __init__(self, groups: int | None = None, epsilon: float = 1e-5, **kwargs: Any):
        super().__init__(**kwargs)
        self.groups = groups
        self.epsilon = epsilon

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes `gamma` and `beta`, each `[C]`."""
        channels = input_shape[-1]
        self.group_count = self.groups or group_count(channels)
        if channels % self.group_count:
            raise ValueError(
                f"got {channels} channels for {self.group_count} groups; expected a"
                f" multiple; try groups={group_count(channels)}"
            )
        super().build(input_shape)

    def _normalized(self, x: tf.Tensor) -> tf.Tensor:
        batch, groups = tf.shape(x)[0], self.group_count
        parts = tf.reshape(x, [batch, -1, groups, x.shape[-1] // groups])
        mean, variance = tf.nn.moments(parts, [1, 3], keepdims=True)
        normal = (parts - mean) * tf.math.rsqrt(variance + self.epsilon)
        return tf.ensure_shape(tf.reshape(normal, tf.shape(x)), x.shape)

    def get_config(self) -> dict:
        """The constructor's arguments."""
        config = super().get_config()
        return {**config, "groups": self.groups, "epsilon": self.epsilon}


class Normalization(NamedTuple):
    """The layers of one choice.

    Layers keep the names that they have with BatchNorm, and `gamma` and `beta` theirs:
    LARS and weight decay leave them alone by these names.

    Attributes:
      norm: Of BatchNorm's own rules (a dict) and the layer's arguments `center`,
        `gamma_initializer`, `name`, `dtype`, to the layer.
      conv: Makes the convolution before it.
      dense: Makes the linear layer before it.
    """

    norm: Callable[..., keras.layers.Layer]
    conv: Callable[..., keras.layers.Layer]
    dense: Callable[..., keras.layers.Layer]


def _batch(rules: dict[str, Any], **options: Any) -> keras.layers.Layer:
    return BatchNorm(**rules, **options)


def _group(rules: dict[str, Any], **options: Any) -> keras.layers.Layer:
    del rules
    return GroupNorm(**options)


def _none(rules: dict[str, Any], **options: Any) -> keras.layers.Layer:
    del rules
    return Affine(**options)


NORMALIZATIONS: dict[str, Normalization] = {
    "batch": Normalization(_batch, Conv, keras.layers.Dense),
    "group_ws": Normalization(_group, StandardizedConv, StandardizedDense),
    "none": Normalization(_none, Conv, keras.layers.Dense),
}
"""`batch`: as published. The others are BYOL's ablation (Richemond et al. 2020):

`group_ws`: group normalisation, and weight standardisation of the kernels in front of
it; the gates of selective kernels and a head's last layer, in front of none, keep
theirs. `none`: the scale and shift that BatchNorm learns remain, so residual branches
can still start at zero.
"""


def get_normalization(name: str) -> Normalization:
    """Returns the layers of a choice.

    Args:
      name: A key of `NORMALIZATIONS`.

    Returns:
      Its layers.

    Raises:
      ConfigError: There is none of this name.
    """
    if name not in NORMALIZATIONS:
        raise ConfigError(unknown("normalization", name, NORMALIZATIONS))
    return NORMALIZATIONS[name]
