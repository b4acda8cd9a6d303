"""Segmentation as a method: encoder and head learn the class of every pixel."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf

from tfssl.augment.dense import IGNORED
from tfssl.core import collectives
from tfssl.losses import as_float
from tfssl.methods.base import Batch, Method, StepOutput


class Segment(Method):
    """Mean cross-entropy over the pixels of the global batch that have a class.

    `sum_p w[y_p] CE_p / sum_p w[y_p]`, y_p being the class of pixel p. Both sums are
    over all replicas' pixels together: replicas whose rows have few pixels of a class
    count for as many, and one replica computes what several do.

    Args:
      encoder: Images `[b, S, S, 3]` to features; its stages are what counts.
      stages: The same images to the maps that the head takes, of the same layers.
      head: Maps to logits `[b, S, S, classes]`.
      weights: w, one a class; None: all 1.
    """

    def __init__(
        self,
        encoder: keras.Model,
        stages: keras.Model,
        head: keras.Model,
        weights: Sequence[float] | None = None,
    ):
        self.encoder = encoder
        self.head = head
        self._stages = stages
        self._weights = weights

    def roles(self) -> dict[str, keras.Model | None]:
        """Encoder and head, the encoder under the name of pre-training's."""
        return {"online/encoder": self.encoder, "segmenter": self.head}

    def models(self) -> list[keras.Model]:
        """What images pass one after the other, to logits."""
        return [self._stages, self.head]

    def logits(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Images `[b, S, S, 3]` in [0, 1] to float32 `[b, S, S, classes]`."""
        return as_float(
            self.head(self._stages(images, training=training), training=training)
        )

    def loss(self, batch: Batch, step: tf.Tensor) -> StepOutput:
        """This replica's share of the mean; 0 where no pixel has a class."""
        if batch.target is None:
            raise ValueError("got a batch without masks; expected target['mask']")
        mask = tf.cast(batch.target["mask"][..., 0], tf.int32)
        logits = self.logits(batch.views[0], training=True)
        counts = mask != IGNORED
        label = tf.where(counts, mask, 0)
        each = tf.nn.sparse_softmax_cross_entropy_with_logits(label, logits)
        hit = counts & (tf.argmax(logits, -1, tf.int32) == mask)
        alike = tf.cast(counts, tf.float32)
        weight = alike
        if self._weights is not None:
            weight *= tf.gather(tf.constant(self._weights, tf.float32), label)
        # The step averages over replicas: each gives its sum times their number. The
        # weights are at least 1 where a pixel counts, so that 1 stands for no pixel.
        whole = collectives.all_sum(
            tf.stack([tf.reduce_sum(weight), tf.reduce_sum(alike)])
        )
        sums = tf.stack(
            [
                tf.reduce_sum(tf.where(counts, each * weight, 0.0)),
                tf.reduce_sum(tf.cast(hit, tf.float32)),
            ]
        )
        shares = sums * (collectives.num_replicas() / tf.maximum(whole, 1.0))
        loss, accuracy = tf.unstack(shares)
        return StepOutput(loss, {"pixel_accuracy": accuracy})
