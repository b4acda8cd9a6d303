"""BYOL's regression loss (2006.07733, section 3.1)."""

from __future__ import annotations

import tensorflow as tf

from tfssl.losses.normalize import l2_normalize


def byol_regression(prediction: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """Computes `|norm(prediction) - norm(target)|^2 = 2 - 2 cos`, one direction.

    BYOL sums the two directions, `L(p1, z2) + L(p2, z1)`, takes the mean over the
    batch and does not halve it, so its loss lies in [0, 8] (deepmind-research
    `byol/byol_experiment.py`). No gradient reaches the target.

    The squared difference is kept, rather than `2 - 2 cos`: the two differ for a zero
    row (1 and 2), and near 0 the difference form does not cancel.

    Args:
      prediction: `[batch, dim]`, the online predictor's output, not normalised.
      target: `[batch, dim]`, the target projector's output, not normalised.

    Returns:
      float32 `[batch]`, in [0, 4].
    """
    difference = l2_normalize(prediction) - l2_normalize(tf.stop_gradient(target))
    return tf.reduce_sum(tf.square(difference), axis=-1)
