"""SGD with momentum whose weight decay is part of the gradient, as in PyTorch."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfssl.core import variables as core_variables
from tfssl.optim.exclude import (
    Exclude,
    checked,
    exclude_config,
    exclude_from_config,
    excluded,
)


@keras.saving.register_keras_serializable(package="tfssl")
class SGD(keras.optimizers.Optimizer):
    """Momentum SGD with coupled weight decay (MoCo, facebookresearch/moco).

    Per variable::

        u = g + weight_decay * w
        v = momentum * v + u;        w = w - lr * v             lr outside (default)
        v = momentum * v + lr * u;   w = w - v                  lr_in_velocity
        nesterov: the step uses momentum * v + u (or lr * u) in place of v

    `keras.optimizers.SGD` is neither: its `weight_decay` is decoupled
    (`w = w - lr * weight_decay * w`, past the momentum) and its rate is in the
    velocity. The two places of the rate differ whenever the rate changes.

    Args:
      learning_rate: Float, schedule, or what Keras takes.
      momentum: In [0, 1).
      weight_decay: Coefficient of `w` in the gradient, >= 0.
      nesterov: Nesterov's form of the step.
      lr_in_velocity: Where the learning rate enters.
      exclude: What has no weight decay, see `tfssl.optim.excluded`; the default ()
        decays everything, biases and batch norm included, as MoCo does.
      name: Name of the optimiser, first part of its variables' paths.
      **kwargs: `clipnorm` and the other arguments of every Keras optimiser.

    Raises:
      ValueError: A coefficient out of its range, or a malformed pattern.
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 0.03,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        lr_in_velocity: bool = False,
        exclude: Exclude = (),
        name: str = "sgd",
        **kwargs: Any,
    ):
        # Keras' own weight_decay stays None: it would decay a second time, decoupled.
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        if not 0 <= momentum < 1:
            raise ValueError(f"got momentum={momentum}; expected [0, 1); try 0.9")
        if weight_decay < 0:
            raise ValueError(f"got weight_decay={weight_decay}; expected >= 0; try 0")
        self.momentum = momentum
        self.coupled_weight_decay = weight_decay
        self.nesterov = nesterov
        self.lr_in_velocity = lr_in_velocity
        self.exclude = checked(exclude)

    def build(self, variables: list[keras.Variable]) -> None:
        """Makes one velocity per variable and resolves `exclude`, once."""
        if self.built:
            return
        super().build(variables)
        self._excluded = excluded(self.exclude, variables)
        self._velocities = self.add_optimizer_variables(variables, "velocity")

    def update_step(
        self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor
    ) -> None:
        """Updates one variable and its velocity; see the class."""
        index = self._get_variable_index(variable)
        velocity = self._velocities[index]
        # float32 at least: in bfloat16 the sum of squares of a norm would be lost.
        w = _wide(variable)
        g, v = tf.cast(gradient, w.dtype), tf.cast(_tensor(velocity), w.dtype)
        lr = tf.cast(learning_rate, w.dtype)
        step = self._direction(g, w, self._excluded[index])
        if self.lr_in_velocity:
            step = lr * step
        v = self.momentum * v + step
        move = self.momentum * v + step if self.nesterov else v
        self.assign(velocity, v)
        move = self._scaled_move(move, w, self._excluded[index])
        self.assign_sub(variable, move if self.lr_in_velocity else lr * move)

    def _direction(self, g: tf.Tensor, w: tf.Tensor, excluded: bool) -> tf.Tensor:
        """Returns the addend of the velocity, before the learning rate."""
        if excluded or not self.coupled_weight_decay:
            return g
        return g + self.coupled_weight_decay * w

    def _scaled_move(self, move: tf.Tensor, w: tf.Tensor, excluded: bool) -> tf.Tensor:
        """Returns the step, before a learning rate outside the velocity."""
        del w, excluded
        return move

    def get_config(self) -> dict[str, Any]:
        """Arguments to make the same optimiser again."""
        config = super().get_config()
        return config | {
            "momentum": self.momentum,
            "weight_decay": self.coupled_weight_decay,
            "nesterov": self.nesterov,
            "lr_in_velocity": self.lr_in_velocity,
            "exclude": exclude_config(self.exclude),
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> SGD:
        """The inverse of `get_config`."""
        config = config | {"exclude": exclude_from_config(config["exclude"])}
        return super().from_config(config, custom_objects=custom_objects)


def _tensor(variable) -> tf.Tensor:
    return tf.convert_to_tensor(core_variables.raw(variable))


def _wide(variable) -> tf.Tensor:
    w = _tensor(variable)
    return w if w.dtype == tf.float64 else tf.cast(w, tf.float32)
