"""A slow copy of encoder and projector, whose projections fill a queue of keys."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfssl.core import variables


class KeyNetwork:
    """MoCo's momentum encoder (He et al. 2020, equation 2), also SimCLR v2's.

    `key <- m * key + (1 - m) * query` for every trainable weight. Runs in training mode
    with BatchNorm statistics of its own, which are never averaged with the others.

    Args:
      encoder: Images `[b, S, S, 3]` to features `[b, F]`.
      projector: `[b, F]` to `[b, D]`, or to a list whose last is that.
      online: The encoder and projector that are followed; the start is their copy.
      momentum: m in [0, 1].
    """

    def __init__(
        self,
        encoder: keras.Model,
        projector: keras.Model,
        *,
        online: tuple[keras.Model, keras.Model],
        momentum: float,
    ):
        self.encoder = encoder
        self.projector = projector
        self._online = online
        self._momentum = momentum
        for own, followed in self._pairs():
            variables.copy_values(followed.weights, own.weights)

    def move(self) -> None:
        """One step towards the online weights."""
        for own, followed in self._pairs():
            variables.move_towards(
                own.trainable_variables,
                followed.trainable_variables,
                1.0 - self._momentum,
            )

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """Projections `[b, D]` of images, not normalised, without gradient."""
        z = self.projector(self.encoder(images, training=True), training=True)
        return tf.stop_gradient(z[-1] if isinstance(z, list) else z)

    def items(self) -> dict[str, tf.Variable]:
        """Weights and BatchNorm statistics, by name."""
        items = variables.named("key/encoder", self.encoder.variables)
        return items | variables.named("key/projector", self.projector.weights)

    def _pairs(self) -> list[tuple[keras.Model, keras.Model]]:
        return list(zip((self.encoder, self.projector), self._online, strict=True))
