"""What can stand in BatchNorm's place: group normalisation, or nothing but the scale.

Both look at one example at a time: no statistics of the batch, none that move, training
and inference are the same, and so are one replica and several.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from tfssl.models.keras_versions import UNROUNDED

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
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.center = center
        self.gamma_initializer = keras.initializers.get(gamma_initializer)

    def build(self, input_shape) -> None:
        """Makes `gamma` and `beta`, each `[C]`."""
        shape = (input_shape[-1],)
        self.gamma = self.add_weight(
            name="gamma", shape=shape, initializer=self.gamma_initializer, **UNROUNDED
        )
        self.beta = None
        if self.center:
            self.beta = self.add_weight(
                name="beta", shape=shape, initializer="zeros", **UNROUNDED
            )
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

    def compute_output_shape(self, input_shape):
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

    def __init__(self, groups: int | None = None, epsilon: float = 1e-5, **kwargs):
        super().__init__(**kwargs)
        self.groups = groups
        self.epsilon = epsilon

    def build(self, input_shape) -> None:
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
