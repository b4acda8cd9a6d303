"""Cross-entropy of rows some of which have no label, or which have several."""

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


def several_labels_cross_entropy(
    target: tf.Tensor, logits: tf.Tensor, smoothing: float = 0.0
) -> tf.Tensor:
    """Returns the sum over the classes of each one's logistic loss, of each row.

    `-t log sigmoid(z) - (1 - t) log(1 - sigmoid(z))` with the target t, or
    `t (1 - s) + s / 2` under a smoothing of s; 0 where nothing is known of a class.

    Args:
      target: Integers `[b, classes]`: 1 has the class, 0 has it not, -1 is not known.
      logits: float32 `[b, classes]`.
      smoothing: s in [0, 1).

    Returns:
      `[b]`, >= 0.
    """
    t = tf.cast(target, logits.dtype) * (1.0 - smoothing) + smoothing / 2
    each = tf.nn.sigmoid_cross_entropy_with_logits(t, logits)
    return tf.reduce_sum(tf.where(target >= 0, each, tf.zeros_like(each)), -1)
