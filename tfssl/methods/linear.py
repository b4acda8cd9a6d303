"""Linear evaluation as a method: classifiers on an encoder that does not move."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfssl.losses import labelled_cross_entropy
from tfssl.methods.base import Batch, Method, StepOutput


@keras.saving.register_keras_serializable(package="tfssl")
class ProbeBank(keras.layers.Layer):
    """Several linear classifiers on the same features: `logits = x W_i + b_i`.

    Maps `[b, F]` to `[probes, b, classes]`. Starts at zero, so that all probes begin
    from the same point (softmax regression is convex).

    Args:
      probes: Number of classifiers, >= 1.
      classes: Number of classes, >= 2.
      **kwargs: Passed on to `keras.layers.Layer`.
    """

    def __init__(self, probes: int, classes: int, **kwargs):
        super().__init__(**kwargs)
        self.probes, self.classes = probes, classes

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes `kernel` `[probes, F, classes]` and `bias` `[probes, 1, classes]`."""
        self.kernel = self.add_weight(
            shape=(self.probes, input_shape[-1], self.classes),
            initializer="zeros",
            name="kernel",
        )
        self.bias = self.add_weight(
            shape=(self.probes, 1, self.classes), initializer="zeros", name="bias"
        )
        self.built = True

    def call(self, features: tf.Tensor) -> tf.Tensor:
        """Logits of every probe."""
        features = tf.cast(features, tf.float32)
        kernel = tf.convert_to_tensor(self.kernel)
        return tf.einsum("bf,pfc->pbc", features, kernel) + self.bias

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return super().get_config() | {"probes": self.probes, "classes": self.classes}


class LinearProbe(Method):
    """Linear evaluation (BYOL appendix C.1; SimCLR appendix B.6; MoCo section 4.1).

    The encoder runs in inference mode and is not trainable: not one bit of it changes.
    Several learning rates are tried at once, as BYOL's protocol sweeps them. Since SGD
    without weight decay is linear in the gradient, multiplying the loss of probe i by
    `r_i` is training it with the learning rate `r_i * learning_rate`; the probes share
    no weight, so the sum of their losses trains them all as if each were alone.

    Args:
      encoder: Images `[b, S, S, 3]` to features `[b, F]`.
      num_classes: Number of classes, >= 2.
      feature_dim: F.
      rate_factors: `r_i`, learning rate of each probe divided by the optimiser's.
    """

    def __init__(
        self,
        encoder: keras.Model,
        *,
        num_classes: int,
        feature_dim: int,
        rate_factors: Sequence[float],
    ):
        encoder.trainable = False
        self.encoder = encoder
        self.bank = ProbeBank(len(rate_factors), num_classes, name="linear_probes")
        self.bank.build((None, feature_dim))
        self._factors = tf.constant(rate_factors, tf.float32)

    def roles(self) -> dict[str, keras.layers.Layer | None]:
        """The probes only: the encoder does not move."""
        return {"linear": self.bank}

    def loss(self, batch: Batch, step: tf.Tensor) -> StepOutput:
        """Sum over probes of rate factor times mean cross-entropy."""
        features = tf.stop_gradient(self.encoder(batch.views[0], training=False))
        logits = self.bank(features)
        label = tf.repeat(batch.label[None], self.bank.probes, axis=0)
        each = tf.reduce_mean(labelled_cross_entropy(label, logits), -1)
        hit = tf.cast(tf.argmax(logits, -1) == label, tf.float32)
        scalars = {
            "best_probe_loss": tf.reduce_min(each),
            "best_probe_accuracy": tf.reduce_max(tf.reduce_mean(hit, -1)),
        }
        return StepOutput(tf.reduce_sum(self._factors * each), scalars)
