"""Detection as methods: an encoder and what is put on it learn from boxes."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfssl.core import collectives, seeds
from tfssl.losses import focal_loss, smooth_l1
from tfssl.methods.base import Batch, Method, StepOutput
from tfssl.models import FasterRCNN, RetinaNet, regions
from tfssl.models.faster_rcnn import OF_PROPOSALS, OF_REGIONS, TRAINING

ANCHORS, HALF = 256, 0.5
"""Anchors of an image that the proposals learn from, and the most that are objects."""

QUARTER = 0.25
"""The most regions of an image that are objects, as a share of those drawn."""


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


class DetectRegions(Method):
    """Training of Faster R-CNN C4: proposals and regions, each classes and offsets.

    Anchors: 256 an image, half of them objects (overlap .7 or more, or the most that an
    object has; background below .3); cross-entropy and L1, their sums divided by 256 an
    image. Regions: of the proposals and the objects themselves `count` an image, a
    quarter objects (overlap .5 or more); cross-entropy and L1, their sums divided by
    the number of regions of the whole global batch: the loss of two replicas is that of
    one. What is drawn is a pure function of seed, step and image. (detectron2; its
    smooth L1 begins at 0, which is L1; its normalisers are those of one machine.)

    Args:
      detector: What trains.
      count: Regions of an image.
      seed: Of the draws.
    """

    def __init__(self, detector: FasterRCNN, *, count: int, seed: int):
        self.encoder = detector.encoder
        self.detector = detector
        self.count = count
        self.seed = seed

    def roles(self) -> dict[str, keras.layers.Layer | None]:
        """The encoder under its name of pre-training, and what is put on it."""
        return {"online/encoder": self.encoder, **self.detector.parts}

    def loss(self, batch: Batch, step: tf.Tensor) -> StepOutput:
        """The loss of this replica's rows, as their share of the global batch's."""
        objects, classes = batch.target["boxes"], batch.target["classes"]
        features = self.detector.map(batch.views[0], training=True)
        logits, offsets = self.detector.proposed(features, training=True)
        scalars = self._of_anchors(logits, offsets, objects, classes > -1, step)
        found = self.detector.proposals(logits, offsets, TRAINING)
        scalars |= self._of_regions(features, *found, objects, classes, step)
        losses = [value for name, value in scalars.items() if name.endswith("_loss")]
        return StepOutput(tf.add_n(losses), scalars)

    def _of_anchors(
        self,
        logits: tf.Tensor,
        offsets: tf.Tensor,
        objects: tf.Tensor,
        there: tf.Tensor,
        step: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        anchors = self.detector.anchors
        shared = regions.overlaps(anchors, objects)
        match, kind = regions.matched(shared, there, below=0.3, above=0.7, best=True)
        order = self._order("anchors", step, logits.shape)
        drawn = regions.sampled(kind, order, ANCHORS, HALF)
        hit = tf.cast(drawn & (kind == 1), tf.float32)
        cross = tf.nn.sigmoid_cross_entropy_with_logits(hit, logits)
        of_match = tf.gather(objects, match, axis=1, batch_dims=1)
        aims = regions.encoded(of_match, anchors, OF_PROPOSALS)
        apart = tf.reduce_sum(tf.abs(offsets - aims), -1)
        number = ANCHORS * logits.shape[0]
        return {
            "object_loss": tf.reduce_sum(tf.where(drawn, cross, 0.0)) / number,
            "proposal_loss": tf.reduce_sum(apart * hit) / number,
        }

    def _of_regions(
        self,
        features: tf.Tensor,
        boxes: tf.Tensor,
        there: tf.Tensor,
        objects: tf.Tensor,
        classes: tf.Tensor,
        step: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        known = classes > -1
        boxes = tf.concat([boxes, objects], 1)
        there = tf.concat([there, known], 1)
        shared = regions.overlaps(boxes, objects)
        match, kind = regions.matched(shared, known, below=0.5, above=0.5)
        kind = tf.where(there, kind, -1)
        order = self._order("regions", step, kind.shape)
        count = min(self.count, kind.shape[1])
        drawn = regions.sampled(kind, order, count, QUARTER)
        place, counts = regions.in_slots(drawn, order, count)
        boxes, match, kind = (
            tf.gather(x, place, axis=1, batch_dims=1) for x in (boxes, match, kind)
        )
        logits, offsets = self.detector.told(features, boxes, training=True)
        background = logits.shape[-1] - 1
        hit = counts & (kind == 1)
        found = tf.cast(tf.gather(classes, match, axis=1, batch_dims=1), tf.int32)
        label = tf.where(hit, found, background)
        cross = tf.nn.sparse_softmax_cross_entropy_with_logits(label, logits)
        of_match = tf.gather(objects, match, axis=1, batch_dims=1)
        aims = regions.encoded(of_match, boxes, OF_REGIONS)
        # Only the offsets of a region's own class learn; background has none.
        own = tf.one_hot(label, background)
        apart = tf.reduce_sum(tf.abs(offsets - aims[:, :, None]), -1)
        apart = tf.reduce_sum(apart * own, -1)
        # The step averages over replicas; sums want the mean number of regions.
        number = collectives.all_mean(tf.reduce_sum(tf.cast(counts, tf.float32)))
        number = tf.maximum(number, 1.0 / collectives.num_replicas())
        return {
            "class_loss": tf.reduce_sum(tf.where(counts, cross, 0.0)) / number,
            "box_loss": tf.reduce_sum(apart) / number,
            "object_regions": tf.reduce_sum(tf.cast(hit, tf.float32))
            * collectives.num_replicas(),
        }

    def _order(self, what: str, step: tf.Tensor, shape: tf.TensorShape) -> tf.Tensor:
        """Random numbers int32 `[b, n]` from 0 on, of this replica's rows."""
        rows, columns = shape
        # Integers: of floats, a compiled function draws others.
        table = tf.random.stateless_uniform(
            [rows * collectives.num_replicas(), columns],
            seeds.step_seed(self.seed, what, step),
            None,
            None,
            tf.int32,
            alg="philox",
        )
        own = collectives.local_rows(table, rows)
        return tf.bitwise.bitwise_and(own, tf.int32.max)
