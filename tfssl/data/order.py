"""Which example stands in which row of which step: a function, no shuffle buffer."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from tfssl.core import seeds


@dataclasses.dataclass(frozen=True)
class Order:
    """Order of a run's examples, and this worker's rows of it.

    Row `r` of step `s` is position `p = s * global_batch + r` of the stream, and shows
    example `index_shuffle(p mod n)` of epoch `p div n`. With M micro batches, replica k
    gets rows `m * global_batch / M + k * c` and the c - 1 after it for every m, c being
    `replica_batch / M`.

    Attributes:
      seed: The run's seed.
      total: Examples of the data set, n.
      global_batch: Rows of a step over all replicas of all workers, at most n.
      replica_batch: Rows of a step on one replica.
      first_row: First row of this worker.
      rows: Rows of this worker, a multiple of `replica_batch`.
      micro_batches: M, divides `replica_batch`.
    """

    seed: int
    total: int
    global_batch: int
    replica_batch: int
    first_row: int
    rows: int
    micro_batches: int = 1

    def position(self, count: tf.Tensor) -> tf.Tensor:
        """Returns the place in the stream of this worker's row number `count`."""
        dealt = self.first_row + count % self.rows
        part = self.replica_batch // self.micro_batches
        replica, own = dealt // self.replica_batch, dealt % self.replica_batch
        row = own // part * (self.global_batch // self.micro_batches) + replica * part
        return count // self.rows * self.global_batch + row + own % part

    def index(self, position: tf.Tensor) -> tf.Tensor:
        """Returns the example at a position, an int64 scalar."""
        return self._shuffled(position, position // self.total)

    def indices(self, position: tf.Tensor) -> tf.Tensor:
        """Returns the examples at positions `[n]` that increase, within one step."""
        # They span two epochs at most.
        epoch = position // self.total
        first, last = (self._shuffled(position, one) for one in (epoch[0], epoch[-1]))
        return tf.where(epoch == epoch[0], first, last)

    def _shuffled(self, position: tf.Tensor, epoch: tf.Tensor) -> tf.Tensor:
        stream = tf.constant(seeds.stream_id(f"{self.seed}:order"), tf.int64)
        return tf.random.experimental.index_shuffle(
            position % self.total,
            seed=tf.stack([stream, epoch]),
            max_index=self.total - 1,
        )
