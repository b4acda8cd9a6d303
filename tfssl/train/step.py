"""The training step: photometry, loss, one update, on every replica, k times a call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfssl.train.micro_batches import micro_batched
from tfssl.train.replica_step import Photometric, ReplicaStep
from tfssl.train.state import RunState

RunSteps = Callable[[Any, tf.Tensor], dict[str, tf.Tensor]]


def make_run_steps(
    strategy: tf.distribute.Strategy,
    state: RunState,
    photometric: Photometric,
    *,
    micro_batches: int = 1,
) -> RunSteps:
    """Makes the function that runs k training steps inside one graph.

    Gradients of `loss / replicas` are summed over replicas once, then every replica
    makes the same update on its own copy: no second all-reduce, no merge call.

    Args:
      strategy: The run's strategy.
      state: Created in the strategy's scope.
      photometric: See `make_photometry`; with the same `micro_batches`.
      micro_batches: Parts of a step's images that are in memory one after the other,
        see `tfssl.train.micro_batches`.

    Returns:
      Function of (iterator, k int64 scalar tensor) to a dict of `[k]` float32 tensors:
      `loss`, `gradient_norm`, `learning_rate`, `data_wait` (seconds waited for the
      batch), `loss_scale` and `skipped_updates` under float16, and the method's
      scalars. One trace, whatever k.
    """
    step = ReplicaStep(state, photometric)
    names: list[str] = []

    # Nothing in a replica's step has control flow on tensors; converting it all the
    # same would double the time of the trace.
    @tf.autograph.experimental.do_not_convert
    def finish(whole):
        values = step.finish(whole)
        names[:] = values
        return tf.stack(list(values.values()))  # one reduction instead of many

    @tf.autograph.experimental.do_not_convert
    def by_name(table):
        columns = tf.unstack(table, num=len(names), axis=1)
        return dict(zip(names, columns, strict=True))

    if micro_batches == 1:
        one_step = _whole(strategy, step, finish)
    else:
        one_step = micro_batched(strategy, step, micro_batches, finish)

    @tf.function
    def run_steps(iterator, count):
        rows = tf.TensorArray(tf.float32, size=tf.cast(count, tf.int32))
        waits = tf.TensorArray(tf.float32, size=tf.cast(count, tf.int32))
        previous = tf.zeros([])
        for i in tf.range(tf.cast(count, tf.int32)):
            # The clock starts when the last step has ended, so that what is
            # measured is idle time, not time that overlaps with computing.
            with tf.control_dependencies([previous]):
                start = tf.timestamp()
            with tf.control_dependencies([start]):
                batch = next(iterator)
            with tf.control_dependencies(tf.nest.flatten(_local(strategy, batch))):
                wait = tf.timestamp() - start
            # On a single core the step would else be run before the clock is read.
            with tf.control_dependencies([wait]):
                values = one_step(batch)
            row = strategy.reduce(tf.distribute.ReduceOp.MEAN, values, axis=None)
            previous = row[0]
            rows = rows.write(i, row)
            waits = waits.write(i, tf.cast(wait, tf.float32))
        return by_name(rows.stack()) | {"data_wait": waits.stack()}

    return run_steps


def _whole(
    strategy: tf.distribute.Strategy, step: ReplicaStep, finish: Callable
) -> Callable:
    """All rows of a replica at once, in one call."""

    @tf.autograph.experimental.do_not_convert
    def replica_step(batch):
        step.begin()
        return finish(step.backward(step.batch(batch)))

    return lambda batch: strategy.run(replica_step, args=(batch,))


def _local(strategy: tf.distribute.Strategy, batch: Any) -> list:
    parts = tf.nest.flatten(batch)
    return [x for part in parts for x in strategy.experimental_local_results(part)]
