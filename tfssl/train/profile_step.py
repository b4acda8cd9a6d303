"""Where a step's time goes: its parts timed apart, on the run's own data."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from tfssl.core import variables
from tfssl.train.replica_step import Photometric, ReplicaStep
from tfssl.train.state import RunState

PARTS = ("input_wait", "photometry", "forward_backward", "update")


def profile_steps(
    strategy: tf.distribute.Strategy,
    state: RunState,
    photometric: Photometric,
    iterator: Iterator,
    steps: int,
) -> dict[str, float]:
    """Times the parts of some training steps, and leaves the state as it was.

    Every part is a graph of its own and is waited for, so their sum is a little more
    than a step of the training function, where the next batch is fetched meanwhile.

    Args:
      strategy: The run's strategy.
      state: What trains.
      photometric: See `make_photometry`, with one micro batch.
      iterator: Yields batches; not used again afterwards.
      steps: Steps to time, after one that traces.

    Returns:
      Medians in milliseconds: `input_wait` (for the batch), `photometry`,
      `forward_backward` (also of the target), `update` (sum over replicas, optimiser,
      moving averages).
    """
    before = {name: item.numpy() for name, item in state.items().items()}
    step = ReplicaStep(state, photometric)

    def forward_backward(batch):
        step.begin()
        return step.backward(batch)

    photometry, both_passes, update = (
        _on_replicas(strategy, function)
        for function in (step.batch, forward_backward, step.finish)
    )
    times: dict[str, list[float]] = {name: [] for name in PARTS}
    for _ in range(steps + 1):
        data = _timed(times["input_wait"], next, iterator)
        batch = _timed(times["photometry"], photometry, data)
        whole = _timed(times["forward_backward"], both_passes, batch)
        _timed(times["update"], update, whole)
    for name, item in state.items().items():
        variables.raw(item).assign(before[name])
    return {name: 1e3 * statistics.median(row[1:]) for name, row in times.items()}


def _on_replicas(strategy: tf.distribute.Strategy, function: Callable) -> Callable:
    return tf.function(lambda x: strategy.run(function, args=(x,)), autograph=False)


def _timed(times: list[float], function: Callable, argument: Any) -> Any:
    began = time.perf_counter()
    result = function(argument)
    tf.test.experimental.sync_devices()
    times.append(time.perf_counter() - began)
    return result
