"""Which rows of a step each worker is asked for."""

import tensorflow as tf

from tfssl.build.data import distributed
from tfssl.core import runtime


class Workers:
    """Stands for a strategy of several workers: gives each one's data set."""

    def __init__(self, count):
        self._count = count

    def distribute_datasets_from_function(self, make):
        context = tf.distribute.InputContext
        return [make(context(self._count, rank)) for rank in range(self._count)]


def test_workers_share_the_rows_of_a_step_in_their_order():
    asked = []
    batches = distributed(Workers(3), 12, lambda **rows: asked.append(rows))
    list(batches(7))
    wanted = [{"start_step": 7, "first_row": row, "rows": 4} for row in (0, 4, 8)]
    assert asked == wanted


def test_one_cpu_reads_the_data_set_itself():
    made = []

    def rows(**rows):
        made.append(rows)
        return tf.data.Dataset.range(rows["start_step"], 100)

    batches = distributed(runtime.one(), 12, rows)(7)
    assert made == [{"start_step": 7, "first_row": 0, "rows": 12}]
    assert [int(next(batches)) for _ in range(3)] == [7, 8, 9]
    # What TensorFlow distributes ends in a data set of its own, which has a tuner.
    assert isinstance(batches, type(iter(tf.data.Dataset.range(1))))
