"""Fine-tuning as a method: encoder and classifier learn from labels."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from tfssl.losses import (
    as_float,
    labelled_cross_entropy,
    several_labels_cross_entropy,
)
from tfssl.methods.base import Batch, Method, StepOutput


class FineTune(Method):
    """Supervised training of the whole network: mean cross-entropy of one view.

    Batch norm normalises by the batch and its moving statistics move, as in
    pre-training. (SimCLR appendix B.5 and SimCLR v2 section 2: no part is frozen; v2
    keeps the projector's first layers below the classifier. BYOL appendix C.2.)

    Args:
      encoder: Images `[b, S, S, 3]` to features `[b, F]`.
      stem: The kept part of the projector, `[b, F]` to `[b, D]`; None for none.
      classifier: `[b, D]`, or `[b, F]` without a stem, to logits `[b, classes]`.
      label_smoothing: s in [0, 1): the target is `1 - s` at the label, and
        `s / classes` more everywhere (Szegedy et al. 2016).
      class_weights: `[classes]`, of an image by its label; None: all alike.
      targets: Where images have several labels: int8 `[n, classes]` of all examples,
        see `losses.several_labels_cross_entropy`; s / 2 is what smoothing adds then.
    """

    def __init__(
        self,
        encoder: keras.Model,
        classifier: keras.Model,
        *,
        stem: keras.Model | None = None,
        label_smoothing: float = 0.0,
        class_weights: Sequence[float] | None = None,
        targets: np.ndarray | None = None,
    ):
        self.encoder = encoder
        self.classifier = classifier
        self.stem = stem
        self._smoothing = label_smoothing
        self._weights = class_weights
        self._targets = targets

    def head(self) -> keras.Model:
        """Stem and classifier as one model, `[b, F]` to `[b, classes]`."""
        if self.stem is None:
            return self.classifier
        features = keras.Input(self.stem.input_shape[1:], name="features")
        return keras.Model(features, self.classifier(self.stem(features)), name="head")

    def roles(self) -> dict[str, keras.Model | None]:
        """Encoder, stem and classifier, under the names of pre-training's parts."""
        return {
            "online/encoder": self.encoder,
            "online/projector": self.stem,
            "probe": self.classifier,
        }

    def loss(self, batch: Batch, step: tf.Tensor) -> StepOutput:
        """Mean cross-entropy of this replica's rows; without a label (-1) it is 0."""
        features = self.encoder(batch.views[0], training=True)
        if self.stem is not None:
            features = self.stem(features, training=True)
        logits = as_float(self.classifier(features, training=True))
        each, hit = self._of_rows(batch, logits)
        return StepOutput(tf.reduce_mean(each), {"train_accuracy": tf.reduce_mean(hit)})

    def _of_rows(self, batch: Batch, logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Loss and share of right answers of each row."""
        if self._targets is not None:
            target = tf.gather(tf.constant(self._targets), batch.index)
            asked = tf.cast(target >= 0, tf.float32)
            right = asked * tf.cast((logits > 0) == (target == 1), tf.float32)
            share = tf.math.divide_no_nan(
                tf.reduce_sum(right, -1), tf.reduce_sum(asked, -1)
            )
            return several_labels_cross_entropy(target, logits, self._smoothing), share
        hit = tf.cast(tf.argmax(logits, -1) == batch.label, tf.float32)
        each = labelled_cross_entropy(batch.label, logits)
        if self._smoothing:
            of_all = -tf.reduce_mean(tf.nn.log_softmax(logits), -1)
            of_all = tf.where(batch.label >= 0, of_all, 0.0)
            each = (1.0 - self._smoothing) * each + self._smoothing * of_all
        if self._weights is not None:
            weights = tf.constant(self._weights, tf.float32)
            each *= tf.gather(weights, tf.maximum(batch.label, 0))
        return each, hit
