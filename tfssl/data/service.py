"""A tf.data service: other hosts decode and crop for one too weak to feed its devices.

Its workers (`tools/data_service.py`) take whole steps from the dispatcher as they get
free. A batch holds exactly the rows and views that it holds without the service, and
no step is made twice; but steps arrive in the order in which workers finish them, and
those in flight are lost when the run or a worker stops. So a resumed run is not bit for
bit the one that was never stopped. Unreadable files are passed over and not listed,
because the list lives in the training process.
"""

from __future__ import annotations

import tensorflow as tf


def rows_by_step(start_step: int, rows: int) -> tf.data.Dataset:
    """Numbers of all rows, which a service deals out by the step."""
    steps = tf.data.Dataset.range(start_step, tf.int64.max // rows)
    return steps.flat_map(
        lambda step: tf.data.Dataset.range(step * rows, (step + 1) * rows)
    )


def made_by(service: str, batches: tf.data.Dataset) -> tf.data.Dataset:
    """The same batches, made by the workers of a service.

    Args:
      service: `grpc://host:port` of its dispatcher.
      batches: Reads nothing through Python, and begins with `rows_by_step`.
    """
    sharding = tf.data.experimental.service.ShardingPolicy.DYNAMIC
    return batches.apply(
        tf.data.experimental.service.distribute(sharding, service=service)
    )
