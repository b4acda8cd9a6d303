"""Random numbers for geometry, which is done inside of XLA or outside of it."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf


def uniform(shape: Sequence[int], seed: tf.Tensor) -> tf.Tensor:
    """Numbers that are the same inside and outside of XLA, unlike TensorFlow's floats.

    Args:
      shape: Static.
      seed: int64 `[2]`.

    Returns:
      float32, multiples of 2^-24 in [0, 1).
    """
    bits = tf.random.stateless_uniform(
        shape, seed, minval=None, maxval=None, dtype=tf.uint32, alg="philox"
    )
    kept = tf.bitwise.right_shift(bits, tf.constant(8, tf.uint32))
    return tf.cast(kept, tf.float32) * 2**-24


def host_uniform(shape: Sequence[int], seed: tf.Tensor) -> tf.Tensor:
    """The floats of `tf.random.stateless_uniform(..., alg="philox")`, outside of XLA.

    By two operations where that takes sixteen: a CPU spends longer on them than on the
    numbers.

    Args:
      shape: Static.
      seed: int64 `[2]`.

    Returns:
      float32, multiples of 2^-23 in [0, 1).
    """
    mixed = tf.raw_ops.StatelessRandomGetKeyCounter(seed=seed)
    return tf.raw_ops.StatelessRandomUniformV2(
        shape=tf.constant(shape, tf.int32), key=mixed.key, counter=mixed.counter, alg=1
    )
