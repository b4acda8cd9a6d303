"""Operations between replicas; the identity where there is one replica.

All functions run in replica context (inside `strategy.run`) or without a strategy.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import tensorflow as tf


def num_replicas() -> int:
    """Returns the number of replicas in step with this one, >= 1."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def replica_id() -> int | tf.Tensor:
    """Returns the rank of this replica in [0, num_replicas())."""
    context = tf.distribute.get_replica_context()
    return 0 if context is None else context.replica_id_in_sync_group


def gather(x: tf.Tensor) -> tf.Tensor:
    """Concatenates a tensor over replicas, in the order of their ranks.

    Every replica writes its rows into zeros and all sum up, as google-research/simclr
    `tf2/objective.py:tpu_cross_replica_concat` does. `ReplicaContext.all_gather` moves
    half as much, but leaves the order to the devices' names and links, and forgets the
    number of rows, which XLA and the queue need.

    Differentiable: the gradient of every replica's loss reaches every replica's rows.

    Args:
      x: `[b, ...]`, the same shape on every replica.

    Returns:
      `[num_replicas * b, ...]`, equal on every replica.
    """
    replicas = num_replicas()
    if replicas == 1:
        return x
    rank = tf.reshape(tf.cast(replica_id(), tf.int32), [1, 1])
    own = tf.scatter_nd(rank, x[None], [replicas, *x.shape])
    return tf.reshape(all_sum(own), [replicas * x.shape[0], *x.shape[1:]])


def all_sum(x: Any) -> Any:
    """Sums a tensor or a nested structure of tensors over replicas."""
    if num_replicas() == 1:
        return x
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, x)


def all_mean(x: Any) -> Any:
    """Averages a tensor or a nested structure of tensors over replicas."""
    if num_replicas() == 1:
        return x
    return tf.distribute.get_replica_context().all_reduce(
        tf.distribute.ReduceOp.MEAN, x
    )


def local_rows(table: tf.Tensor, rows: int) -> tf.Tensor:
    """Returns this replica's rows of a table made for the global batch.

    Args:
      table: `[num_replicas * rows, ...]`, equal on every replica.
      rows: Rows per replica.

    Returns:
      `[rows, ...]`.
    """
    if num_replicas() == 1:
        return table
    return slice_rows(table, tf.cast(replica_id(), tf.int32) * rows, rows)


def slice_rows(table: tf.Tensor, first: tf.Tensor, rows: int) -> tf.Tensor:
    """Returns rows `first` to `first + rows` of `[n, ...]`, of static shape for XLA.

    Args:
      table: `[n, ...]`.
      first: int32 scalar; may be known only when the graph runs.
      rows: Number of rows.

    Returns:
      `[rows, ...]`.
    """
    begin = tf.concat([first[None], tf.zeros([table.shape.rank - 1], tf.int32)], 0)
    return tf.slice(table, begin, [rows, *table.shape[1:]])


def any_worker(strategy: tf.distribute.Strategy, yes: bool) -> bool:
    """Returns whether a worker says yes, on all workers. Not in replica context.

    A collective: every worker must call it equally often, at the same places.
    """
    votes = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(float(yes))
    )
    total = strategy.reduce(tf.distribute.ReduceOp.SUM, votes, axis=None)
    return float(total) > 0


def take_over_first(
    strategy: tf.distribute.Strategy, variables: Iterable[tf.Variable]
) -> None:
    """Gives every replica of every worker the values of replica 0.

    After the chief has read a checkpoint, this is how the others get it: all start
    from the same bits, whether or not they see the chief's disk. Not in replica
    context; a collective, so every worker must call it.

    Args:
      strategy: The run's strategy.
      variables: In the same order on every worker.
    """
    wanted = list(variables)

    def replica():
        first = tf.equal(tf.cast(replica_id(), tf.int32), 0)
        for variable in wanted:
            value = tf.convert_to_tensor(variable)
            variable.assign(all_sum(tf.where(first, value, tf.zeros_like(value))))

    # One graph: eager collectives would start one by one.
    tf.function(lambda: strategy.run(replica), autograph=False)()
