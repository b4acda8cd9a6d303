"""Distillation as a method: a student learns what a teacher says of the same view."""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf

from tfssl.core import variables
from tfssl.losses import (
    as_float,
    byol_regression,
    distillation_cross_entropy,
    labelled_cross_entropy,
)
from tfssl.methods.base import Batch, Method, StepOutput

Targets = Callable[[Batch], tf.Tensor]
"""What the teacher says of rows: `[b, classes]` logits or `[b, D]` features, float32.

The teacher is in inference mode, and no part of the method: it is neither trained nor
in the checkpoint."""


def _as_it_is(view: tf.Tensor) -> tf.Tensor:
    return view


class Distill(Method):
    """The third step of SimCLR v2 (2006.10029, section 2, equations 2 to 4).

    Without labels every row is one of all training images::

        loss = mean CE(teacher, student; T)           see `distillation_cross_entropy`

    With labels (equation 4) the first rows of a replica's part, a fixed number, are
    labelled images and the others are drawn from all images::

        loss = alpha * mean over the others of CE(teacher, student; T)
             + (1 - alpha) * mean over the labelled rows of -log P_student(label; 1)

    All rows pass the student together, so that BatchNorm sees both kinds at once.

    Args:
      encoder: The student's, images `[b, S, S, 3]` to features `[b, F]`.
      classifier: The student's, features to logits `[b, classes]`.
      targets: The teacher's logits of rows.
      temperature: T.
      alpha: Weight of the teacher, in (0, 1].
      labelled: Labelled rows and all rows of a step, over all replicas; (0, 1): none.
      head_decay: Weight of `|kernel|^2 / 2` of the classifier in the loss, where the
        optimiser leaves it out (SimCLR's LARS).
      shown: Of the batch's view to the images that the student takes.
    """

    def __init__(
        self,
        encoder: keras.Model,
        classifier: keras.Model,
        targets: Targets,
        *,
        temperature: float,
        alpha: float = 1.0,
        labelled: tuple[int, int] = (0, 1),
        head_decay: float = 0.0,
        shown: Callable[[tf.Tensor], tf.Tensor] = _as_it_is,
    ):
        self.encoder = encoder
        self.classifier = classifier
        self._targets = targets
        self._temperature = temperature
        self._alpha = alpha
        self._labelled = labelled
        self._head_decay = head_decay
        self._shown = shown

    def roles(self) -> dict[str, keras.Model | None]:
        """The student's networks, under the names of a fine-tuned run."""
        return {"online/encoder": self.encoder, "probe": self.classifier}

    def loss(self, batch: Batch, step: tf.Tensor) -> StepOutput:
        """The losses of both kinds of rows; see the class."""
        del step
        (view,) = batch.views
        part, whole = self._labelled
        known = view.shape[0] * part // whole
        index = None if batch.index is None else batch.index[known:]
        target = self._targets(Batch((view[known:],), batch.label[known:], index))
        features = self.encoder(self._shown(view), training=True)
        logits = as_float(self.classifier(features, training=True))
        each = distillation_cross_entropy(logits[known:], target, self._temperature)
        same = tf.argmax(logits[known:], -1) == tf.argmax(target, -1)
        loss = tf.reduce_mean(each)
        scalars = {
            "distillation_loss": loss,
            "agreement": tf.reduce_mean(tf.cast(same, tf.float32)),
        }
        if known:
            label = batch.label[:known]
            hit = tf.argmax(logits[:known], -1) == label
            of_labels = tf.reduce_mean(labelled_cross_entropy(label, logits[:known]))
            loss = self._alpha * loss + (1.0 - self._alpha) * of_labels
            scalars["label_loss"] = of_labels
            scalars["label_accuracy"] = tf.reduce_mean(tf.cast(hit, tf.float32))
        if self._head_decay:
            kernel = variables.raw(self.classifier.trainable_variables[0])
            loss += self._head_decay * tf.nn.l2_loss(kernel)
        return StepOutput(loss, scalars)


class DistillFeatures(Method):
    """The student's projected features regress the teacher's, both normalised.

    For teachers without a classifier. Per row `|n(p) - n(t)|^2 = 2 - 2 cos`, in [0, 4],
    as BYOL compares (`byol_regression`).

    Args:
      encoder: The student's, images `[b, S, S, 3]` to features `[b, F]`.
      regressor: Features to `[b, D]`; evaluation leaves it out.
      targets: The teacher's features of rows, `[b, D]`.
      shown: As of `Distill`.
    """

    def __init__(
        self,
        encoder: keras.Model,
        regressor: keras.Model,
        targets: Targets,
        *,
        shown: Callable[[tf.Tensor], tf.Tensor] = _as_it_is,
    ):
        self.encoder = encoder
        self.regressor = regressor
        self._targets = targets
        self._shown = shown

    def roles(self) -> dict[str, keras.Model | None]:
        """The student's encoder, and what maps its features to the teacher's space."""
        return {"online/encoder": self.encoder, "online/regressor": self.regressor}

    def loss(self, batch: Batch, step: tf.Tensor) -> StepOutput:
        """Mean regression loss; see the class."""
        del step
        features = self.encoder(self._shown(batch.views[0]), training=True)
        projected = self.regressor(features, training=True)
        loss = tf.reduce_mean(byol_regression(projected, self._targets(batch)))
        return StepOutput(loss, {"cosine": 1.0 - loss / 2.0})
