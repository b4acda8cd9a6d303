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
      own_rates: Role of the method to a function of the step: networks that learn at
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
          ValueError: A rate for a role that the method does not train.
        """
        own_rates = own_rates or {}
        for role in own_rates:
            if role not in method.trained():
                raise ValueError(unknown("learning rate of", role, method.trained()))
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
        found: list[tf.Tensor | None] = []
        now = tf.convert_to_tensor(variables.raw(self.optimizer.iterations))
        for role, part in self.method.trained().items():
            rate = None
            if role in self.own_rates:
                rate = tf.cast(self.own_rates[role](now), tf.float32)
                if self.rate_factor is not None:
                    rate *= tf.convert_to_tensor(self.rate_factor)
            found += [rate] * len(part.trainable_variables)
        return found

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
