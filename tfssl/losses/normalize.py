"""L2 normalisation as the three official codes do it; they differ at zero only."""

from __future__ import annotations

import tensorflow as tf

SQUARED_EPSILON = 1e-12
"""Floor of the SQUARED norm in SimCLR and BYOL (google-research/simclr
`tf2/objective.py`, deepmind-research `byol/utils/helpers.py`): norm floor 1e-6."""

MOCO_SQUARED_EPSILON = 1e-24
"""MoCo floors the norm itself at 1e-12 (torch `F.normalize`), so its square here."""


def l2_normalize(x: tf.Tensor, *, epsilon: float = SQUARED_EPSILON) -> tf.Tensor:
    """Computes `x / sqrt(max(sum(x^2), epsilon))` along the last axis, in float32.

    A zero row stays zero and its gradient is finite: the upstream one divided by
    `sqrt(epsilon)`.

    Args:
      x: `[..., dim]`, any floating type; float64 stays float64.
      epsilon: Floor of the squared norm, > 0.

    Returns:
      `[..., dim]`, float32 (or float64), rows of norm 1.
    """
    x = as_float(x)
    square = tf.reduce_sum(tf.square(x), axis=-1, keepdims=True)
    return x * tf.math.rsqrt(tf.maximum(square, tf.cast(epsilon, x.dtype)))


def moco_normalize(x: tf.Tensor) -> tf.Tensor:
    """Normalises with MoCo's floor, see `l2_normalize`."""
    return l2_normalize(x, epsilon=MOCO_SQUARED_EPSILON)


def as_float(x: tf.Tensor) -> tf.Tensor:
    """Casts a narrower tensor to float32; float64 is left alone.

    In bfloat16 a similarity of 0.99 is known to 0.004, which at temperature 0.07 is
    5 % of a probability: losses are never computed in it.
    """
    x = tf.convert_to_tensor(x)
    return x if x.dtype == tf.float64 else tf.cast(x, tf.float32)
