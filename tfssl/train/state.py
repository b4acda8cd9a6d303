"""Everything that moves during training, under names of our own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import keras
import tensorflow as tf

from tfssl.core import variables
from tfssl.core.runtime import needs_loss_scale
from tfssl.errors import unknown
from tfssl.methods.base import Method
from tfssl.train.loss_scale import LossScale


@dataclasses.dataclass(frozen=True)
class RunState:
    """A method, its optimiser, and the number of updates made.

    Attributes:
      method: What trains.
      optimizer: Built on `method.trainable_variables`, inside the strategy's scope.
      step: int64 scalar `tf.Variable`, the number of updates made.
      loss_scale: Of float16; None under the other precisions.
      rate_factor: float32 scalar in (0, 1] that the learning rate is multiplied by,
        halved by every rewind; None where nothing rewinds.
      own_rates: Role of the method, or where the names of a part of its variables
        begin (`"online/encoder/stage1_"`), to a function of the step: what learns at
        another rate than the optimiser's.
    """

    method: Method
    optimizer: keras.optimizers.Optimizer
    step: tf.Variable
    loss_scale: LossScale | None = None
    rate_factor: tf.Variable | None = None
    own_rates: Mapping[str, Callable] = dataclasses.field(default_factory=dict)

    @classmethod
    def create(
        cls,
        method: Method,
        optimizer: keras.optimizers.Optimizer,
        rate_factor: tf.Variable | None = None,
        own_rates: Mapping[str, Callable] | None = None,
    ) -> RunState:
        """Makes the state; call inside `strategy.scope()`.

        The optimiser's variables are made here: made lazily inside `strategy.run`
        they fail in Keras 3 (keras issue 23085).

        Raises:
          ValueError: A rate for what the method does not train.
        """
        own_rates = own_rates or {}
        names = _trained_names(method)
        for own in own_rates:
            if not any(_begins(name, own) for name in names):
                raise ValueError(unknown("learning rate of", own, method.trained()))
        optimizer.build(method.trainable_variables)
        step = tf.Variable(0, dtype=tf.int64, trainable=False, name="step")
        loss_scale = LossScale() if needs_loss_scale() else None
        return cls(method, optimizer, step, loss_scale, rate_factor, own_rates)

    def rates(self) -> list[tf.Tensor | None] | None:
        """Returns each trained variable's own learning rate now, None: the optimiser's.

        Like the optimiser's, a function of the optimiser's count of steps, so there is
        nothing more to save.
        """
        if not self.own_rates:
            return None
        now = tf.convert_to_tensor(variables.raw(self.optimizer.iterations))
        rates = {
            own: tf.cast(function(now), tf.float32)
            for own, function in self.own_rates.items()
        }
        if self.rate_factor is not None:
            factor = tf.convert_to_tensor(self.rate_factor)
            rates = {own: rate * factor for own, rate in rates.items()}
        return [
            next((rate for own, rate in rates.items() if _begins(name, own)), None)
            for name in _trained_names(self.method)
        ]

    def items(self) -> dict[str, tf.Variable]:
        """Name to variable, for checkpoints. The names are the file format."""
        items = {"step": self.step}
        items |= self.loss_scale.items() if self.loss_scale else {}
        if self.rate_factor is not None:
            items["rate_factor"] = self.rate_factor
        items |= self.method.checkpoint_items()
        slots = [
            v
            for v in self.optimizer.variables
            if variables.path(v).split("/")[-1] != "learning_rate"
        ]
        return items | variables.named("optimizer", slots)


def _trained_names(method: Method) -> list[str]:
    """Names of the trained variables as in checkpoints, in the optimiser's order."""
    return [
        name
        for role, part in method.trained().items()
        for name in variables.named(role, part.trainable_variables)
    ]


def _begins(name: str, own: str) -> bool:
    """Whether a variable belongs to a role, or to a part that is named by its start."""
    return name.startswith(own if own.endswith("_") else f"{own}/")
