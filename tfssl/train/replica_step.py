"""A training step on one replica: forward, backward, update."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from tfssl.core import collectives, variables
from tfssl.methods.base import Batch, StepOutput
from tfssl.optim import apply_update, require_gradients
from tfssl.train.state import RunState

Photometric = Callable[..., tuple[tf.Tensor, ...]]
"""Function of (batch, step, number of the micro batch) to its views, `[b, S, S, 3]`."""


class Backward(NamedTuple):
    """What forward and backward pass of some rows give on one replica.

    Attributes:
      gradients: One per trainable variable, of this replica's share of the loss,
        multiplied by the loss scale if there is one.
      scalars: Name to float32 scalar, means over the rows; with the loss.
      aux: The method's, for `after_update`.
    """

    gradients: list[tf.Tensor]
    scalars: dict[str, tf.Tensor]
    aux: Any


class ReplicaStep:
    """What a step is made of, whether it takes its rows at once or in parts.

    Order: `begin`, then `backward` of all rows, then `finish`.

    Args:
      state: Method, optimiser, step.
      photometric: See `tfssl.train.make_photometry`.
    """

    def __init__(self, state: RunState, photometric: Photometric):
        self.method = state.method
        self._state = state
        self._photometric = photometric

    @property
    def weights(self) -> list[tf.Variable]:
        """The trainable variables, as TensorFlow knows them."""
        return [variables.raw(w) for w in self.method.trainable_variables]

    def now(self) -> tf.Tensor:
        """int64 scalar, the number of updates made."""
        return tf.convert_to_tensor(self._state.step)

    def batch(self, data: dict[str, tf.Tensor], part: int | tf.Tensor = 0) -> Batch:
        """Makes views of the rows of one part of the step."""
        views = self._photometric(data, self.now(), part)
        return Batch(views, data["label"], data.get("index"), data.get("target"))

    def begin(self) -> None:
        """What moves before the forward pass."""
        self.method.before_forward(self.now())

    def scaled(self, loss: tf.Tensor) -> tf.Tensor:
        """This replica's share of the loss, times the loss scale if there is one."""
        share = loss / collectives.num_replicas()
        if self._state.loss_scale is None:
            return share
        return share * self._state.loss_scale.scale

    def scalars(self, output: StepOutput) -> dict[str, tf.Tensor]:
        """The loss and the method's scalars, float32."""
        named = {"loss": output.loss, **output.scalars}
        return {name: tf.cast(value, tf.float32) for name, value in named.items()}

    def backward(self, batch: Batch) -> Backward:
        """Loss and gradient of some rows."""
        with tf.GradientTape() as tape:
            output = self.method.loss(batch, self.now())
            loss = self.scaled(output.loss)
        gradients = tape.gradient(loss, self.weights)
        require_gradients(gradients, self.method.trainable_variables)
        return Backward(gradients, self.scalars(output), output.aux)

    def finish(self, whole: Backward) -> dict[str, tf.Tensor]:
        """Sums gradients over replicas, updates once, counts the step.

        Returns:
          Name to float32 scalar: what the log's row of this step says.
        """
        optimizer, loss_scale = self._state.optimizer, self._state.loss_scale
        now = self.now()
        gradients = collectives.all_sum(whole.gradients)
        if loss_scale:
            gradients = [g / loss_scale.scale for g in gradients]
        norm = _global_norm(gradients)
        rate = tf.cast(optimizer.learning_rate, tf.float32)
        of_scale = {}

        def update() -> None:
            trained = self.method.trainable_variables
            apply_update(optimizer, gradients, trained, self._state.rates())
            self.method.after_update(now, whole.aux)

        if loss_scale:
            # The learning rate is a function of the step, also after a skipped one.
            of_scale["loss_scale"] = tf.convert_to_tensor(loss_scale.scale)
            skipped = loss_scale.guard(
                norm, update, lambda: optimizer.iterations.assign_add(1)
            )
            norm = tf.where(skipped, tf.zeros_like(norm), norm)
            of_scale["skipped_updates"] = tf.cast(loss_scale.skipped, tf.float32)
        else:
            update()
        self._state.step.assign_add(1)
        return {
            **whole.scalars,
            "gradient_norm": norm,
            "learning_rate": rate,
            **of_scale,
            "weight_norm": _global_norm(self.weights),
        }


def _global_norm(tensors: list[tf.Tensor]) -> tf.Tensor:
    """float32, as everything that is logged, also of a run in float64."""
    return tf.cast(tf.linalg.global_norm(tensors), tf.float32)
