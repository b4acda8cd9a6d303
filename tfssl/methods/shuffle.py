"""Shuffle-BN: rows change places over the global batch while they are encoded."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from tfssl.core import collectives


def encode_shuffled(
    encode: Callable[[tf.Tensor], tf.Tensor], rows: tf.Tensor, seed: tf.Tensor
) -> tf.Tensor:
    """`encode(rows)`, normalised in other groups than the rows' own (MoCo, 3.3).

    Without it, query and key of one image share the statistics of their BatchNorm
    group, by which the network can find the positive key without looking at the image.
    With statistics of the whole batch it changes nothing but the order of sums.

    Args:
      encode: `[b, ...]` to `[b, D]`; differentiated through if it is differentiable.
      rows: This replica's rows, `[b, ...]`.
      seed: `core.seeds.step_seed`, equal on every replica.

    Returns:
      `[b, D]`, row i belonging to `rows[i]`.
    """
    count = rows.shape[0]
    total = count * collectives.num_replicas()
    # argsort of uniform numbers: XLA and TPU refuse stateless_shuffle.
    order = tf.argsort(tf.random.stateless_uniform([total], seed))
    shuffled = tf.gather(collectives.gather(rows), order)
    encoded = encode(collectives.local_rows(shuffled, count))
    back = tf.gather(collectives.gather(encoded), tf.argsort(order))
    return collectives.local_rows(back, count)
