"""Strategy and share of each replica, as `--strategy` and the batch ask for."""

from __future__ import annotations

import functools
import os

import tensorflow as tf

from tfssl.config import Config, launch
from tfssl.core import runtime
from tfssl.errors import DataError, message
from tfssl.show import console


@functools.cache
def _strategy(name: str, virtual_devices: int, tpu_name: str) -> tf.distribute.Strategy:
    runtime.split_cpu(virtual_devices)
    if name == launch.MULTIWORKER:
        # Nothing else tells a worker that waits from one that hangs.
        cluster = launch.read_cluster(os.environ)
        console.say(
            f"worker {cluster.rank} of {cluster.size}: waiting until all have come "
            f"({', '.join(cluster.addresses)})"
        )
    return runtime.make_strategy(name, tpu_name)


def strategy(config: Config) -> tf.distribute.Strategy:
    """The run's strategy; one object for the whole process."""
    return _strategy(config.strategy, config.virtual_devices, config.tpu_name)


def replica_batch(
    global_batch: int,
    run_on: tf.distribute.Strategy,
    micro_batches: int = 1,
    flag: str = "batch_size",
) -> int:
    """Images of one step on one replica; refuses a batch that cannot be split.

    Args:
      global_batch: Images of a step over all replicas.
      run_on: The run's strategy.
      micro_batches: Parts in which a replica takes its images.
      flag: Which flag said the batch size, for the message.
    """
    replicas = run_on.num_replicas_in_sync
    share = replicas * micro_batches
    if global_batch % share:
        parts = f" in {micro_batches} micro batches" if micro_batches > 1 else ""
        raise DataError(
            message(
                f"{flag}={global_batch} on {replicas} replicas{parts}",
                f"a multiple of {share}",
                f"{flag}={max(1, global_batch // share) * share}",
            )
        )
    return global_batch // replicas
