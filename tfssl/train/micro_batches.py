"""A step whose rows pass the networks in parts: large batches on small memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfssl.core import collectives
from tfssl.methods.base import CouplesRows
from tfssl.models import frozen_statistics
from tfssl.train.replica_step import Backward, ReplicaStep


def micro_batched(
    strategy: tf.distribute.Strategy,
    step: ReplicaStep,
    count: int,
    finish: Callable[[Backward], Any],
) -> Callable[[Any], Any]:
    """Makes a step that holds the activations of one part of its rows at a time.

    A loss that is a mean of rows (BYOL, MoCo) is added up: gradients, scalars and aux
    of every part, then one update, one move of target, key encoder and queue.

    A loss that couples rows (`CouplesRows`, NT-Xent) is exact all the same, by caching
    the gradient of what the networks put out (Gao et al., 2101.06983)::

        e_m = embed(x_m)                    for every part, activations forgotten
        g = d loss(e_1 ... e_M) / d e       all rows, networks not involved
        sum_m g_m . d embed(x_m) / d w      each part once more

    That costs a second forward pass, which leaves BatchNorm's running statistics alone,
    so that every image moves them once.

    BatchNorm normalises within a part (of all replicas together): its statistics are
    those of `batch_size / count` images, and its running ones move once a part. This
    is where a step in parts differs from a whole one; a network without BatchNorm has
    the same gradients.

    Args:
      strategy: The run's strategy.
      step: The step of a replica; its photometry made with the same number of parts.
      count: Number of parts, >= 2, divides the rows of a replica.
      finish: The update, in replica context.

    Returns:
      Function of a distributed batch, not in replica context, to what `finish` gives.
    """
    coupled = isinstance(step.method, CouplesRows)
    backward = _cached if coupled else _accumulated

    def update(whole):
        # What a loop carried stands on no device, and several workers' all-reduce
        # refuses it ("destinations can not be empty").
        return finish(tf.nest.map_structure(tf.identity, whole))

    @tf.autograph.experimental.do_not_convert
    def one_step(batch):
        strategy.run(step.begin)
        whole = backward(strategy, step, batch, count)
        return strategy.run(update, args=(whole,))

    return one_step


def _accumulated(strategy, step: ReplicaStep, batch, count: int):
    def replica(batch, part, sums):
        found = step.backward(step.batch(_rows(batch, part, count), part))
        weight = 1.0 / count
        gradients = [weight * g for g in found.gradients]
        scalars = {name: weight * value for name, value in found.scalars.items()}
        if sums is not None:
            gradients = [s + g for s, g in zip(sums.gradients, gradients, strict=True)]
            scalars = {name: v + sums.scalars[name] for name, v in scalars.items()}
        old = None if sums is None else sums.aux
        return Backward(gradients, scalars, _write(old, found.aux, part, count))

    def flat(sums):
        return sums._replace(aux=_flat(sums.aux))

    sums = _fold(
        count, lambda part, sums: strategy.run(replica, args=(batch, part, sums))
    )
    return strategy.run(flat, args=(sums,))


def _cached(strategy, step: ReplicaStep, batch, count: int):
    method = step.method

    def embed(batch, part, table):
        with frozen_statistics():
            found = method.embed(
                step.batch(_rows(batch, part, count), part), step.now()
            )
        return _write(table, found, part, count)

    def of_loss(batch, table):
        """Gradients by the embeddings, and by the weights that the loss itself has."""
        embedded = _flat(table)
        weights = step.weights
        with tf.GradientTape() as tape:
            tape.watch(embedded)
            output = method.loss_of(embedded, batch["label"], step.now())
            loss = step.scaled(output.loss)
        by_embedded, by_weights = tape.gradient(
            loss, (embedded, weights), unconnected_gradients="zero"
        )
        return by_embedded, Backward(by_weights, step.scalars(output), output.aux)

    def again(batch, part, by_embedded, sums):
        with tf.GradientTape() as tape:
            found = method.embed(
                step.batch(_rows(batch, part, count), part), step.now()
            )
        more = tape.gradient(
            found,
            step.weights,
            output_gradients=_rows(by_embedded, part, count),
            unconnected_gradients="zero",
        )
        return [s + g for s, g in zip(sums, more, strict=True)]

    table = _fold(
        count, lambda part, table: strategy.run(embed, args=(batch, part, table))
    )
    by_embedded, whole = strategy.run(of_loss, args=(batch, table))
    gradients = _fold(
        count,
        lambda part, sums: strategy.run(again, args=(batch, part, by_embedded, sums)),
        start=whole.gradients,
    )
    return whole._replace(gradients=gradients)


def _fold(count: int, body: Callable[[Any, Any], Any], start: Any = None) -> Any:
    """`body(part, carry)` for every part, one after the other, in the graph.

    Not in replica context: a loop inside of it could not hold collectives. Without a
    start, the first part is outside the loop, to learn what is carried.
    """
    first = 0
    if start is None:
        start, first = body(tf.constant(0), None), 1
    return tf.while_loop(
        lambda part, _: part < count,
        lambda part, carry: (part + 1, body(part, carry)),
        (tf.constant(first), start),
        # Side by side, the parts would need the memory that they are there to save.
        parallel_iterations=1,
        maximum_iterations=count - first,
    )[1]


def _rows(nest: Any, part: tf.Tensor, count: int) -> Any:
    """The rows of one part of every tensor `[b, ...]`."""

    def rows(x):
        size = x.shape[0] // count
        return collectives.slice_rows(x, part * size, size)

    return tf.nest.map_structure(rows, nest)


def _write(table: Any, nest: Any, part: tf.Tensor, count: int) -> Any:
    """Puts tensors `[n, ...]` into row `part` of tables `[count, n, ...]`."""
    index = tf.reshape(part, [1, 1])
    if table is None:
        return tf.nest.map_structure(
            lambda x: tf.scatter_nd(index, x[None], [count, *x.shape]), nest
        )
    return tf.nest.map_structure(
        lambda t, x: tf.tensor_scatter_nd_update(t, index, x[None]), table, nest
    )


def _flat(table: Any) -> Any:
    """Tables `[count, n, ...]` as tensors `[count * n, ...]`."""
    return tf.nest.map_structure(
        lambda t: tf.reshape(t, [t.shape[0] * t.shape[1], *t.shape[2:]]), table
    )
