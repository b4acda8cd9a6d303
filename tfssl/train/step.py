"""The training step: photometry, loss, one update, on every replica, k times a call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfssl.augment import photometry
from tfssl.augment.recipes import Recipe
from tfssl.core import collectives, seeds, variables
from tfssl.methods.base import Batch
from tfssl.optim import apply_update
from tfssl.train.state import RunState

RunSteps = Callable[[Any, tf.Tensor], dict[str, tf.Tensor]]


def make_photometry(
    recipe: Recipe, *, seed: int, global_batch: int, replica_batch: int
) -> Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, ...]]:
    """The colour half of augmentation, one XLA-compiled function.

    Every replica draws the parameters of the whole global batch, a few numbers per
    image, and keeps its rows: the views do not depend on the number of replicas.

    Args:
      recipe: Table of numbers, one `ViewRecipe` per view.
      seed: The run's seed.
      global_batch: Images of a step over all replicas.
      replica_batch: Images of a step on one replica.

    Returns:
      Function of (uint8 `[b, V, S, S, 3]`, step int64 scalar) to V tensors float32
      `[b, S, S, 3]`, normalised as the recipe says. Call it in replica context.
    """

    @tf.function(jit_compile=True, autograph=False)
    def apply(images, step, first_row):
        table = photometry.sample(
            recipe, seeds.step_seed(seed, "photometry", step), global_batch
        )
        views = []
        for v, view in enumerate(recipe.views):
            rows = {
                name: collectives.slice_rows(values[v], first_row, replica_batch)
                for name, values in table.items()
            }
            views.append(
                photometry.apply(images[:, v], rows, view, recipe.mean, recipe.std)
            )
        return tuple(views)

    def photometric(images, step):
        first_row = tf.cast(collectives.replica_id(), tf.int32) * replica_batch
        return apply(images, step, first_row)

    return photometric


def make_run_steps(
    strategy: tf.distribute.Strategy,
    state: RunState,
    photometric: Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, ...]],
) -> RunSteps:
    """Makes the function that runs k training steps inside one graph.

    Gradients of `loss / replicas` are summed over replicas once, then every replica
    makes the same update on its own copy: no second all-reduce, no merge call.

    Args:
      strategy: The run's strategy.
      state: Created in the strategy's scope.
      photometric: See `make_photometry`.

    Returns:
      Function of (iterator, k int64 scalar tensor) to a dict of `[k]` float32 tensors:
      `loss`, `gradient_norm`, `learning_rate`, `data_wait` (seconds waited for the
      batch) and the method's scalars. One trace, whatever k.
    """
    method, optimizer, step = state.method, state.optimizer, state.step
    names: list[str] = []

    # Nothing below this line has control flow on tensors; converting it all the same
    # would double the time of the trace.
    @tf.autograph.experimental.do_not_convert
    def replica_step(batch):
        now = tf.convert_to_tensor(step)
        views = photometric(batch["views"], now)
        method.before_forward(now)
        weights = method.trainable_variables
        with tf.GradientTape() as tape:
            output = method.loss(Batch(views, batch["label"]), now)
            loss = output.loss / collectives.num_replicas()
        gradients = tape.gradient(loss, [variables.raw(w) for w in weights])
        gradients = collectives.all_sum(gradients)
        scalars = {
            "loss": output.loss,
            "gradient_norm": tf.linalg.global_norm(gradients),
            "learning_rate": tf.cast(optimizer.learning_rate, tf.float32),
        }
        scalars |= output.scalars
        apply_update(optimizer, gradients, weights)
        method.after_update(now, output.aux)
        step.assign_add(1)
        names[:] = list(scalars)
        return tf.stack([tf.cast(value, tf.float32) for value in scalars.values()])

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
            values = strategy.run(replica_step, args=(batch,))
            row = strategy.reduce(tf.distribute.ReduceOp.MEAN, values, axis=None)
            previous = row[0]
            rows = rows.write(i, row)
            waits = waits.write(i, tf.cast(wait, tf.float32))
        return rows.stack(), waits.stack()

    def run(iterator, count):
        table, waits = run_steps(iterator, count)
        columns = tf.unstack(table, axis=1)
        return dict(zip(names, columns, strict=True)) | {"data_wait": waits}

    run.graph = run_steps  # type: ignore[attr-defined]
    return run


def _local(strategy: tf.distribute.Strategy, batch: Any) -> list:
    parts = [strategy.experimental_local_results(x) for x in batch.values()]
    return [tensor for part in parts for tensor in part]
