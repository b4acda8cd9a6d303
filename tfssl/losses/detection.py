"""Losses of one-stage detection, summed over anchors: RetinaNet's (1708.02002)."""

from __future__ import annotations

import tensorflow as tf


def focal_loss(
    labels: tf.Tensor, logits: tf.Tensor, *, alpha: float = 0.25, gamma: float = 2.0
) -> tf.Tensor:
    """Computes `-alpha_t (1 - p_t)^gamma log p_t`, from logits.

    Args:
      labels: 0 or 1, float32 of the logits' shape.
      logits: float32 `[...]`; `p_t` is the sigmoid where the label is 1, else 1 minus
        it.
      alpha: Weight of label 1; that of label 0 is `1 - alpha`.
      gamma: Of the modulation; 0 is weighted cross-entropy.

    Returns:
      float32 `[...]`.
    """
    cross = tf.nn.sigmoid_cross_entropy_with_logits(labels, logits)
    right = labels * tf.sigmoid(logits) + (1.0 - labels) * tf.sigmoid(-logits)
    weight = labels * alpha + (1.0 - labels) * (1.0 - alpha)
    return weight * (1.0 - right) ** gamma * cross


def smooth_l1(difference: tf.Tensor, cutoff: float = 1.0) -> tf.Tensor:
    """Computes `d^2 / (2 cutoff)` below the cutoff, `|d| - cutoff / 2` above it."""
    size = tf.abs(difference)
    return tf.where(size < cutoff, 0.5 / cutoff * size**2, size - 0.5 * cutoff)
