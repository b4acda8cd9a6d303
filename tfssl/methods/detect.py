"""Detection as a method: encoder, pyramid and heads learn from boxes."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfssl.core import collectives
from tfssl.losses import focal_loss, smooth_l1
from tfssl.methods.base import Batch, Method, StepOutput
from tfssl.models import RetinaNet


class Detect(Method):
    """Training of a RetinaNet: focal loss of classes, smooth L1 of boxes.

    Both are summed over all anchors and divided by the number of anchors with an
    object, of the whole global batch: the loss of two replicas is that of one. Anchors
    that are neither object nor background count for nothing. (1708.02002, section 4.1;
    its normaliser is that of one machine.)

    Args:
      detector: What trains.
    """

    def __init__(self, detector: RetinaNet):
        self.encoder = detector.encoder
        self.detector = detector

    def roles(self) -> dict[str, keras.layers.Layer | None]:
        """The encoder under its name of pre-training, and what is put on it."""
        return {"online/encoder": self.encoder, **self.detector.parts}

    def loss(self, batch: Batch, step: tf.Tensor) -> StepOutput:
        """The loss of this replica's rows, as their share of the global batch's."""
        images, known = batch.views[0], batch.target
        boxes, logits = self.detector.raw(images, training=True)
        offsets, classes = self.detector.targets(
            images, known["boxes"], known["classes"]
        )
        there = tf.cast(classes > -1.0, tf.float32)
        counted = tf.cast(classes > -2.0, tf.float32)
        labels = tf.one_hot(tf.cast(classes, tf.int32), logits.shape[-1])
        of_classes = tf.reduce_sum(focal_loss(labels, logits), -1) * counted
        of_boxes = tf.reduce_sum(smooth_l1(boxes - offsets), -1) * there
        # The step averages over replicas; sums want the mean number of objects.
        number = collectives.all_mean(tf.reduce_sum(there))
        number = tf.maximum(number, 1.0 / collectives.num_replicas())
        parts = [tf.reduce_sum(part) / number for part in (of_classes, of_boxes)]
        scalars = {"class_loss": parts[0], "box_loss": parts[1]}
        scalars["matched_anchors"] = number * collectives.num_replicas()
        return StepOutput(parts[0] + parts[1], scalars)
