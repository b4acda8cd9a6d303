"""Cross-entropy of rows some of which have no label."""

from __future__ import annotations

import tensorflow as tf


def labelled_cross_entropy(label: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Returns `-log softmax(logits)[label]` of each row, 0 where there is no label.

    A row without a label adds nothing to a mean over rows, and has no gradient: so what
    several replicas add up to does not depend on which of them has such rows.

    Args:
      label: int64 `[..., b]`; -1 where there is none.
      logits: float `[..., b, classes]`.

    Returns:
      `[..., b]`, >= 0.
    """
    entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(
        tf.maximum(label, 0), logits
    )
    return tf.where(label >= 0, entropy, tf.zeros_like(entropy))
