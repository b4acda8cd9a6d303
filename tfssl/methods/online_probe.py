"""Linear classifier trained along with the encoder, which gets no gradient from it.

Shows during pre-training how good the features are. Labels are used for nothing else.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from tfssl.core import variables
from tfssl.losses import as_float, labelled_cross_entropy


def with_probe(
    loss: tf.Tensor,
    scalars: dict[str, tf.Tensor],
    probe: keras.Model | None,
    features: tf.Tensor | None,
    label: tf.Tensor,
    *,
    decay: float = 0.0,
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """A method's loss and scalars with those of its probe, if it has one.

    Args:
      loss: Scalar.
      scalars: Name to scalar.
      probe: As in `probe_loss`, or None, which changes nothing.
      features: As in `probe_loss`; None without a probe.
      label: As in `probe_loss`.
      decay: Weight of `|kernel|^2 / 2` of the probe in the loss.

    Returns:
      (loss, scalars).
    """
    if probe is None:
        return loss, scalars
    extra, more = probe_loss(probe, features, label)
    if decay:
        kernel = variables.raw(probe.trainable_variables[0])
        extra += decay * tf.nn.l2_loss(kernel)
    return loss + extra, scalars | more


def probe_loss(
    probe: keras.Model, features: tf.Tensor, label: tf.Tensor
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Softmax cross-entropy of a linear probe on stop-gradient features.

    Sources: deepmind-research `byol/byol_experiment.py` (view 1) and google-research
    `simclr/tf2/run.py`, `lineareval_while_pretraining` (both views).

    Args:
      probe: Maps `[b, F]` to logits `[b, classes]`.
      features: `[b, F]`; no gradient flows back through them.
      label: int64 `[b]`; rows with -1 do not count.

    Returns:
      (scalar: sum over the labelled rows divided by b, so that replicas which hold more
      or fewer of them add up to what one replica computes; scalars for the log).
    """
    logits = as_float(probe(tf.stop_gradient(features), training=True))
    known = tf.cast(label >= 0, logits.dtype)
    count = tf.maximum(tf.reduce_sum(known), 1.0)
    hit = tf.cast(tf.argmax(logits, -1) == label, logits.dtype)
    loss = tf.reduce_mean(labelled_cross_entropy(label, logits))
    return loss, {
        "probe_loss": loss,
        "probe_accuracy": tf.reduce_sum(hit * known) / count,
    }
