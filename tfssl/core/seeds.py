"""Randomness as a pure function of (seed, stream, step): nothing has a state.

Therefore a run resumes exactly, and one replica draws what several draw.
"""

from __future__ import annotations

import zlib

import tensorflow as tf


def stream_id(name: str) -> int:
    """Returns a stable non-negative 31-bit number for a name (crc32)."""
    return zlib.crc32(name.encode()) & 0x7FFFFFFF


def init_seed(seed: int, name: str) -> int:
    """Returns the seed of one weight's initialiser, whatever the order of making.

    Args:
      seed: The run's seed, >= 0.
      name: Full name of the weight, for example `"online/stem/conv/kernel"`.

    Returns:
      An integer in [0, 2**31).
    """
    return stream_id(f"{seed}:{name}")


def step_seed(seed: int, stream: str, step: int | tf.Tensor) -> tf.Tensor:
    """Returns the seed for the `tf.random.stateless_*` ops of one stream at one step.

    One seed gives the same integers everywhere, but other floats inside XLA than
    outside it (each takes other bits of the integer; seen on TensorFlow 2.21): draw
    floats of one stream always in a compiled function, or never.

    Args:
      seed: The run's seed, >= 0.
      stream: What the numbers are for, for example `"crop"`; streams are independent.
      step: Training step or example index, an integer or an integer scalar tensor.

    Returns:
      int64 `[2]`: (hash of seed and stream, step).
    """
    mixed = stream_id(f"{seed}:{stream}")
    return tf.stack([tf.constant(mixed, tf.int64), tf.cast(step, tf.int64)])
