"""LARS (1708.03888) in the forms of SimCLR and BYOL."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfssl.optim.exclude import Exclude
from tfssl.optim.sgd import SGD


@keras.saving.register_keras_serializable(package="tfssl")
class LARS(SGD):
    """Momentum SGD whose step is scaled per variable to the size of its weights.

    Per variable that is not excluded::

        u = g + weight_decay * w
        trust = trust_coefficient * |w| / |u|      1 where a norm is 0; no epsilon
        v = momentum * v + lr * trust * u;  w = w - v           SimCLR (default)
        v = momentum * v + trust * u;       w = w - lr * v      BYOL, rate outside
        v = momentum * v + u;               w = w - lr * trust' * v
                                            classic_momentum=False, no published run
        trust' = trust_coefficient * |w| / |v|     1 where a norm is 0

    An excluded variable has neither decay nor trust ratio. Nesterov's step has
    `momentum * v + (what was added to v)` in place of the last v, in trust' as well.
    Sources: google-research/simclr `tf2/lars_optimizer.py` (first and third form);
    deepmind-research `byol/utils/optimizers.py`. The first two differ whenever the rate
    changes, that is at every step of a schedule.

    Works in `model.compile` and in `tfssl.optim.apply_update`. Norms are float32,
    whatever the dtype of the variables.

    Args:
      learning_rate: Float, schedule, or what Keras takes; 4.8 for SimCLR at 4096.
      momentum: In [0, 1).
      weight_decay: Coefficient of `w` in the gradient, >= 0.
      trust_coefficient: "eeta" or "eta" in the official codes.
      nesterov: Nesterov's form of the step.
      lr_in_velocity: SimCLR's form (True) or BYOL's.
      classic_momentum: The trust ratio is that of the gradient (True) or, as the
        official argument of this name has it, that of the step; the latter takes the
        rate outside the velocity, `lr_in_velocity=False`.
      exclude: What has neither decay nor trust ratio, see `tfssl.optim.excluded`;
        None: biases, normalisation layers, and every vector.
      name: Name of the optimiser, first part of its variables' paths.
      **kwargs: `clipnorm` and the other arguments of every Keras optimiser.

    Raises:
      ValueError: A coefficient out of its range, a malformed pattern, or
        `classic_momentum=False` with the rate in the velocity.
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 1.0,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust_coefficient: float = 0.001,
        nesterov: bool = False,
        lr_in_velocity: bool = True,
        exclude: Exclude = None,
        name: str = "lars",
        classic_momentum: bool = True,
        **kwargs: Any,
    ):
        super().__init__(
            learning_rate=learning_rate,
            momentum=momentum,
            weight_decay=weight_decay,
            nesterov=nesterov,
            lr_in_velocity=lr_in_velocity,
            exclude=exclude,
            name=name,
            **kwargs,
        )
        if trust_coefficient <= 0:
            raise ValueError(
                f"got trust_coefficient={trust_coefficient}; expected > 0; try 0.001"
            )
        if lr_in_velocity and not classic_momentum:
            raise ValueError(
                "got classic_momentum=False with lr_in_velocity=True; expected the rate"
                " outside the velocity; try lr_in_velocity=False"
            )
        self.trust_coefficient = trust_coefficient
        self.classic_momentum = classic_momentum

    def _direction(self, g: tf.Tensor, w: tf.Tensor, excluded: bool) -> tf.Tensor:
        update = super()._direction(g, w, excluded)
        if excluded or not self.classic_momentum:
            return update
        return self._adapted(update, w)

    def _scaled_move(self, move: tf.Tensor, w: tf.Tensor, excluded: bool) -> tf.Tensor:
        if excluded or self.classic_momentum:
            return move
        return self._adapted(move, w)

    def _adapted(self, update: tf.Tensor, w: tf.Tensor) -> tf.Tensor:
        """`update` times its trust ratio."""
        w_norm, u_norm = _norm(w), _norm(update)
        ratio = tf.math.divide_no_nan(self.trust_coefficient * w_norm, u_norm)
        known = tf.logical_and(w_norm > 0, u_norm > 0)
        return update * tf.where(known, ratio, tf.ones_like(ratio))

    def get_config(self) -> dict[str, Any]:
        """Arguments to make the same optimiser again."""
        return super().get_config() | {
            "trust_coefficient": self.trust_coefficient,
            "classic_momentum": self.classic_momentum,
        }


def _norm(x: tf.Tensor) -> tf.Tensor:
    return tf.sqrt(tf.reduce_sum(tf.square(x)))
