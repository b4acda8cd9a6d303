"""MoCo's dictionary: a ring of the latest keys, equal on every replica."""

from __future__ import annotations

import tensorflow as tf

from tfssl.core import seeds
from tfssl.errors import ConfigError, message


class KeyQueue:
    """First-in first-out memory of `size` keys (He et al. 2020, section 3.2).

    Starts with normalised Gaussian rows, as `moco/builder.py` does.

    Args:
      size: K, number of keys, a multiple of `enqueued`.
      dim: D, dimensions of a key.
      enqueued: Keys written by one step: the global batch, twice that if symmetric.
      seed: The run's seed.

    Raises:
      ConfigError: `size` is not a multiple of `enqueued`.
    """

    def __init__(self, size: int, dim: int, *, enqueued: int, seed: int):
        if size < enqueued or size % enqueued:
            raise ConfigError(
                message(
                    f"--queue_size={size} with {enqueued} keys a step",
                    "a multiple of the keys written by one step",
                    f"--queue_size={max(1, size // enqueued) * enqueued}",
                )
            )
        self._size = size
        start = tf.random.stateless_normal(
            [size, dim], seeds.step_seed(seed, "queue", 0)
        )
        self.keys = tf.Variable(
            tf.math.l2_normalize(start, -1), trainable=False, name="queue"
        )
        self.head = tf.Variable(0, trainable=False, dtype=tf.int64, name="queue_head")

    def items(self) -> dict[str, tf.Variable]:
        """The keys and the place of the oldest, by name."""
        return {"queue/keys": self.keys, "queue/head": self.head}

    def write(self, keys: tf.Tensor) -> None:
        """Replaces the oldest keys.

        Args:
          keys: `[n, D]` normalised keys of the global batch, equal on every replica;
            n divides the queue's size.
        """
        count = keys.shape[0]
        rows = self.head + tf.range(count, dtype=tf.int64)
        self.keys.assign(tf.tensor_scatter_nd_update(self.keys, rows[:, None], keys))
        self.head.assign((self.head + count) % self._size)
