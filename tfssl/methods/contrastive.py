"""What the contrastive methods share: one trained encoder, projector and probe."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfssl.core import variables


class Contrastive:
    """Half of the contract `Method`; the loss, and what moves, belong to the method.

    Args:
      encoder: Images to features `[b, F]`.
      projector: `[b, F]` to `[b, D]`, or to a list whose last is that.
      temperature: T > 0.
      probe: Online classifier on the features, or None.
    """

    def __init__(
        self,
        encoder: keras.Model,
        projector: keras.Model,
        temperature: float,
        probe: keras.Model | None,
    ):
        self.encoder = encoder
        self._projector = projector
        self._temperature = temperature
        self._probe = probe

    @property
    def trainable_variables(self) -> list:
        """Weights of encoder, projector and probe."""
        models = [self.encoder, self._projector, self._probe]
        return [v for model in models if model for v in model.trainable_variables]

    def before_forward(self, step: tf.Tensor) -> None:
        """Nothing moves before the forward pass."""
        del step

    def after_update(self, step: tf.Tensor, aux: Any) -> None:
        """Nothing follows the update."""
        del step, aux

    def checkpoint_items(self) -> dict[str, tf.Variable]:
        """Encoder, projector and probe with their BatchNorm statistics."""
        items = variables.named("online/encoder", self.encoder.variables)
        items |= variables.named("online/projector", self._projector.weights)
        if self._probe:
            items |= variables.named("probe", self._probe.weights)
        return items
