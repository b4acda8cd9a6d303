"""InfoNCE against a queue of keys (MoCo, 1911.05722) or against the batch's keys."""

from __future__ import annotations

import tensorflow as tf

from tfssl.losses.normalize import as_float, moco_normalize

# Taken off the logit of a key that is no negative; exp(-1e9) = 0.
MASK = 1e9


def info_nce(
    query: tf.Tensor,
    key: tf.Tensor,
    queue: tf.Tensor,
    *,
    temperature: float,
    normalize: bool = True,
    left_out: tf.Tensor | None = None,
) -> tf.Tensor:
    """Computes `-log softmax([q.k+ | q.queue] / T)[0]`, one direction: query to key.

    The queue must be the one BEFORE this step's keys are written
    (facebookresearch/moco `moco/builder.py`); no gradient reaches key or queue.
    Chance level is `log(1 + queue_size)`.

    Args:
      query: `[batch, dim]`.
      key: `[batch, dim]`, row i is the positive of query i.
      queue: `[queue_size, dim]`, rows already normalised.
      temperature: > 0; 0.07 in MoCo v1, 0.2 in v2.
      normalize: Whether to normalise query and key here (norm floor 1e-12).
      left_out: bool `[batch, queue_size]`, True where a key is no negative of a query,
        because it belongs to the query's own image.

    Returns:
      float32 `[batch]`, >= 0.
    """
    logits = _queue_logits(query, key, queue, normalize, left_out) / temperature
    labels = tf.zeros(tf.shape(logits)[:1], tf.int32)
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)


def info_nce_accuracy(
    query: tf.Tensor,
    key: tf.Tensor,
    queue: tf.Tensor,
    *,
    normalize: bool = True,
    left_out: tf.Tensor | None = None,
) -> tf.Tensor:
    """Returns the share of queries whose positive is nearer than all of the queue.

    MoCo's (K+1)-way accuracy, except that a tie counts as wrong: collapsed embeddings
    show 0 and not 1.

    Args:
      query: `[batch, dim]`.
      key: `[batch, dim]`.
      queue: `[queue_size, dim]`, rows already normalised.
      normalize: As in `info_nce`.
      left_out: As in `info_nce`.

    Returns:
      float32 scalar in [0, 1].
    """
    logits = _queue_logits(query, key, queue, normalize, left_out)
    hit = logits[:, 0] > tf.reduce_max(logits[:, 1:], axis=1)
    return tf.reduce_mean(tf.cast(hit, tf.float32))


def info_nce_batch(
    query: tf.Tensor,
    key: tf.Tensor,
    *,
    temperature: float,
    key_all: tf.Tensor | None = None,
    offset: int | tf.Tensor = 0,
    normalize: bool = True,
) -> tf.Tensor:
    """InfoNCE whose negatives are the other keys of the batch.

    MoCo's "end-to-end" baseline (1911.05722, figure 2a): `-log softmax(q k^T / T)[i]`
    with gradients into the keys as well. One direction; sum both yourself.

    Args:
      query: `[batch, dim]`.
      key: `[batch, dim]`.
      temperature: > 0.
      key_all: `[all, dim]`, the keys gathered over replicas; None: `key`.
      offset: Row of `key_all` that holds `key[0]`.
      normalize: Whether to normalise here.

    Returns:
      float32 `[batch]`, >= 0.
    """
    key_all = key if key_all is None else key_all
    logits, labels = _batch_logits(query, key_all, offset, normalize)
    return tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels=labels, logits=logits / temperature
    )


def info_nce_batch_accuracy(
    query: tf.Tensor,
    key: tf.Tensor,
    *,
    key_all: tf.Tensor | None = None,
    offset: int | tf.Tensor = 0,
    normalize: bool = True,
) -> tf.Tensor:
    """Fraction of queries whose own key is nearer than every other; a tie is none.

    Args:
      query: `[batch, dim]`.
      key: `[batch, dim]`.
      key_all: As in `info_nce_batch`.
      offset: As in `info_nce_batch`.
      normalize: As in `info_nce_batch`.

    Returns:
      float32 scalar in [0, 1].
    """
    key_all = key if key_all is None else key_all
    logits, labels = _batch_logits(query, key_all, offset, normalize)
    own = tf.one_hot(labels, tf.shape(key_all)[0], dtype=logits.dtype)
    positive = tf.reduce_sum(logits * own, 1)
    hit = positive > tf.reduce_max(logits - MASK * own, 1)
    return tf.reduce_mean(tf.cast(hit, tf.float32))


def _prepare(x: tf.Tensor, normalize: bool) -> tf.Tensor:
    return moco_normalize(x) if normalize else as_float(x)


def _batch_logits(
    query: tf.Tensor, key_all: tf.Tensor, offset: int | tf.Tensor, normalize: bool
) -> tuple[tf.Tensor, tf.Tensor]:
    """Cosine similarities `[batch, all]`, and the column of each row's own key."""
    query, key_all = _prepare(query, normalize), _prepare(key_all, normalize)
    labels = tf.range(tf.shape(query)[0]) + tf.cast(offset, tf.int32)
    return tf.matmul(query, key_all, transpose_b=True), labels


def _queue_logits(
    query: tf.Tensor,
    key: tf.Tensor,
    queue: tf.Tensor,
    normalize: bool,
    left_out: tf.Tensor | None,
) -> tf.Tensor:
    """Cosine similarities `[batch, 1 + queue_size]`, the positive first."""
    query = _prepare(query, normalize)
    key = tf.stop_gradient(_prepare(key, normalize))
    queue = tf.stop_gradient(as_float(queue))
    positive = tf.reduce_sum(query * key, axis=1, keepdims=True)
    negatives = tf.matmul(query, queue, transpose_b=True)
    if left_out is not None:
        negatives -= MASK * tf.cast(left_out, negatives.dtype)
    return tf.concat([positive, negatives], axis=1)
