"""Batch normalisation over the batch of all replicas, or over groups of it.

On one replica it runs the fused kernel, which `keras.layers.BatchNormalization` of
Keras 3 never does.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from tfssl.core import collectives
from tfssl.models.convolution import Shape

_FROZEN: contextvars.ContextVar[bool] = contextvars.ContextVar("frozen", default=False)


@contextlib.contextmanager
def frozen_statistics() -> Iterator[None]:
    """Lets training normalise by the batch and move no running statistics, within it.

    For a forward pass that is repeated later, so that every image counts once. Decided
    when the graph is traced, per thread (replicas are threads).
    """
    token = _FROZEN.set(True)
    try:
        yield
    finally:
        _FROZEN.reset(token)


@keras.saving.register_keras_serializable(package="tfssl")
class BatchNorm(keras.layers.Layer):
    """`y = gamma * (x - mean) / sqrt(variance + epsilon) + beta` per channel.

    Training uses the batch's mean and biased variance and moves the running ones;
    inference, or `trainable = False`, uses the running ones. Statistics are float32
    under mixed precision and float64 for float64 inputs. Must be called in replica
    context (or without a strategy) when training, with equally many rows on each
    replica.

    With the running rule `r <- r + (1 - momentum) * (batch - r)`, the three official
    codes differ as follows. SimCLR stores the biased variance (Keras
    `SyncBatchNormalization`); torch, so MoCo, the unbiased one; haiku, so BYOL, the
    biased one with the bias towards the start removed: with `c` updates so far the
    rate becomes `(1 - momentum) / (1 - momentum ** c)`, and the first update is a
    copy (`haiku.ExponentialMovingAverage`, Adam's correction).

    Args:
      momentum: Decay of the running statistics, in [0, 1). torch's momentum is one
        minus this.
      epsilon: Added to the variance, >= 0.
      center: Whether there is a `beta`.
      scale: Whether there is a `gamma`.
      gamma_initializer: Start of `gamma`; `"zeros"` makes a residual block start as
        the identity.
      groups: 0 normalises the global batch as one, by an all-reduce of the moments
        over replicas. G >= 1 normalises G equal groups of the global batch apart;
        each replica holds G / num_replicas of them, so that one device can stand in
        for G (MoCo normalises per GPU). The running statistics take the mean over
        all groups.
      interleaved: Group of a replica's row j is `j % n` with n groups on the replica,
        as `SplitBatchNorm` of MoCo's CIFAR demo has it; else groups are consecutive
        rows, as separate devices have it.
      moving_variance: `"biased"` or `"unbiased"` (times n / (n - 1)).
      zero_debias: haiku's corrected average; adds the variable `counter`.
      **kwargs: Of `keras.layers.Layer`.

    Raises:
      ValueError: An argument is out of its range, or at the call, the batch or the
        groups cannot be divided equally.
    """

    def __init__(
        self,
        momentum: float = 0.9,
        epsilon: float = 1e-5,
        *,
        center: bool = True,
        scale: bool = True,
        gamma_initializer: str | keras.initializers.Initializer = "ones",
        groups: int = 0,
        interleaved: bool = False,
        moving_variance: str = "biased",
        zero_debias: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if not 0 <= momentum < 1:
            raise ValueError(f"got momentum={momentum}; expected 0 <= momentum < 1")
        if groups < 0:
            raise ValueError(f"got groups={groups}; expected 0 (global) or more")
        if moving_variance not in ("biased", "unbiased"):
            raise ValueError(
                f"got moving_variance={moving_variance!r}; expected 'biased' or"
                " 'unbiased'"
            )
        self.momentum = momentum
        self.epsilon = epsilon
        self.center = center
        self.scale = scale
        self.gamma_initializer = keras.initializers.get(gamma_initializer)
        self.groups = groups
        self.interleaved = interleaved
        self.unbiased = moving_variance == "unbiased"
        self.zero_debias = zero_debias

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes `gamma`, `beta`, `moving_mean`, `moving_variance` and `counter`."""

        def weight(name, initializer, trainable, shape=(input_shape[-1],)):
            return self.add_weight(
                name=name,
                shape=shape,
                initializer=initializer,
                trainable=trainable,
                autocast=False,  # else mixed precision rounds it when it is read
            )

        self.gamma = self.beta = self.counter = None
        if self.scale:
            self.gamma = weight("gamma", self.gamma_initializer, True)
        if self.center:
            self.beta = weight("beta", "zeros", True)
        self.moving_mean = weight("moving_mean", "zeros", False)
        self.moving_variance = weight("moving_variance", "ones", False)
        if self.zero_debias:
            self.counter = weight("counter", "zeros", False, shape=())
        self.built = True

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Normalises `[b, C]` or `[b, H, W, C]`; same shape and dtype out."""
        x = inputs if inputs.shape.rank == 4 else inputs[:, None, None, :]
        if training and self.trainable:
            y = self._train(x)
        else:
            y = self._normalize(
                x,
                tf.convert_to_tensor(self.moving_mean),
                tf.convert_to_tensor(self.moving_variance),
            )
        return y if inputs.shape.rank == 4 else tf.squeeze(y, [1, 2])

    def _train(self, x: tf.Tensor) -> tf.Tensor:
        replicas = collectives.num_replicas()
        if self.groups == 0:
            y, mean, variance = self._whole(x, replicas)
            self._move(mean, variance)
            return y
        if self.groups % replicas:
            raise ValueError(
                f"got {self.groups} batch norm groups on {replicas} replicas; expected"
                f" a multiple of {replicas}; try groups={replicas}, one per replica"
            )
        parts = self._split(x, self.groups // replicas)
        out = [self._whole(part, 1) for part in parts]
        statistics = tf.stack([tf.stack(o[1:]) for o in out])
        # One small all-reduce: replicas must agree on what a checkpoint will hold.
        statistics = collectives.all_mean(tf.reduce_mean(statistics, 0))
        self._move(*tf.unstack(statistics))
        return self._join([o[0] for o in out], x)

    def _split(self, x: tf.Tensor, parts: int) -> list[tf.Tensor]:
        if parts == 1:
            return [x]
        rows = x.shape[0]
        if rows is not None and rows % parts:
            raise ValueError(
                f"got {rows} rows per replica for {parts} batch norm groups; expected"
                f" a multiple of {parts}; try a batch of {rows + parts - rows % parts}"
            )
        if self.interleaved:
            return [x[i::parts] for i in range(parts)]
        return tf.split(x, parts)

    def _join(self, parts: list[tf.Tensor], like: tf.Tensor) -> tf.Tensor:
        if len(parts) == 1:
            return parts[0]
        if self.interleaved:
            return tf.reshape(tf.stack(parts, 1), tf.shape(like))
        return tf.concat(parts, 0)

    def _whole(
        self, x: tf.Tensor, replicas: int
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Normalises one group; returns it, its mean and the variance to store."""
        count = tf.cast(tf.reduce_prod(tf.shape(x)[:3]), self.variable_dtype)
        if replicas == 1 and x.dtype != tf.float64:
            gamma, beta = self._gamma_beta(x.shape[-1])
            # The raw op: `tf.compat.v1.nn.fused_batch_norm` raises epsilon to 1.001e-5.
            y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
                x=x,
                scale=gamma,
                offset=beta,
                mean=tf.zeros([0]),
                variance=tf.zeros([0]),
                epsilon=self.epsilon,
                is_training=True,
            )
            # The kernel returns the unbiased variance.
            if not self.unbiased:
                variance *= (count - 1.0) / count
            return y, mean, variance
        mean, variance = self._moments(x, replicas)
        y = self._plain(x, mean, variance)
        if self.unbiased:
            count *= replicas
            variance *= count / tf.maximum(count - 1.0, 1.0)
        return y, mean, variance

    def _moments(self, x: tf.Tensor, replicas: int) -> tuple[tf.Tensor, tf.Tensor]:
        mean, variance = tf.nn.moments(tf.cast(x, self.variable_dtype), [0, 1, 2])
        if replicas == 1:
            return mean, variance
        # E[x^2] - E[x]^2 needs one all-reduce instead of two, but loses all digits
        # where the mean is large against the deviation. Measuring from the running
        # mean, which all replicas share, brings them back.
        origin = tf.stop_gradient(tf.convert_to_tensor(self.moving_mean))
        first = mean - origin
        second = variance + tf.square(first)
        first, second = tf.unstack(collectives.all_mean(tf.stack([first, second])))
        variance = tf.maximum(second - tf.square(first), 0.0)
        return origin + first, variance

    def _normalize(
        self, x: tf.Tensor, mean: tf.Tensor, variance: tf.Tensor
    ) -> tf.Tensor:
        """Normalises with given statistics, which get no gradient."""
        if x.dtype == tf.float64:
            return self._plain(x, mean, variance)
        gamma, beta = self._gamma_beta(x.shape[-1])
        return tf.raw_ops.FusedBatchNormV3(
            x=x,
            scale=gamma,
            offset=beta,
            mean=mean,
            variance=variance,
            epsilon=self.epsilon,
            is_training=False,
        ).y

    def _plain(self, x: tf.Tensor, mean: tf.Tensor, variance: tf.Tensor) -> tf.Tensor:
        gamma, beta = self._gamma_beta(x.shape[-1])
        factor = tf.math.rsqrt(variance + self.epsilon) * gamma
        y = (tf.cast(x, self.variable_dtype) - mean) * factor + beta
        return tf.cast(y, x.dtype)

    def _gamma_beta(self, channels: int) -> tuple[tf.Tensor, tf.Tensor]:
        dtype = self.variable_dtype
        gamma, beta = self.gamma, self.beta
        return (
            tf.ones([channels], dtype)
            if gamma is None
            else tf.convert_to_tensor(gamma),
            tf.zeros([channels], dtype) if beta is None else tf.convert_to_tensor(beta),
        )

    def _move(self, mean: tf.Tensor, variance: tf.Tensor) -> None:
        if _FROZEN.get():
            return
        decay = tf.constant(self.momentum, self.variable_dtype)
        rate = 1.0 - decay
        if self.counter is not None:
            updates = tf.convert_to_tensor(self.counter) + 1.0
            self.counter.assign(updates)
            rate /= 1.0 - tf.pow(decay, updates)
        for running, batch in (
            (self.moving_mean, mean),
            (self.moving_variance, variance),
        ):
            old = tf.convert_to_tensor(running)
            running.assign(old + rate * (tf.stop_gradient(batch) - old))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The shape of the input."""
        return tuple(input_shape)

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "center": self.center,
            "scale": self.scale,
            "gamma_initializer": keras.initializers.serialize(self.gamma_initializer),
            "groups": self.groups,
            "interleaved": self.interleaved,
            "moving_variance": "unbiased" if self.unbiased else "biased",
            "zero_debias": self.zero_debias,
        }
