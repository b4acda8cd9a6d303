"""Cuts rows of training a handful at a time: a bad file costs only its own row more.

What may fail runs in a small data set inside the map function, whose errors are
ignored. Making one takes a CPU as long as half a view, so several rows share it.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

Row = dict[str, tf.Tensor]
Make = Callable[[tf.Tensor, tf.Tensor], Row]

_LARGEST = 16  # rows; more would only make batches wait for each other


def size_for(batch: int) -> int:
    """The largest handful, of at most 16 rows, that divides a batch."""
    return max(n for n in range(1, _LARGEST + 1) if batch % n == 0)


def rows(position: tf.Tensor, index: tf.Tensor, quick: Make, careful: Make) -> Row:
    """Some rows of a batch, in order.

    Args:
      position: int64 `[n]`, n static: places in the stream.
      index: int64 `[n]`, which example stands there.
      quick: Makes a row from its (position, index); may raise `tf.errors.OpError`. Its
        tensors have static shapes, and are numbers.
      careful: The same for rows whose `quick` failed.

    Returns:
      What `quick` returns, each `[n, ...]`.
    """
    count = position.shape[0]
    places = tf.range(count, dtype=tf.int64)
    tried = tf.data.Dataset.from_tensor_slices((places, position, index))
    made = tried.map(lambda place, *row: (place, quick(*row))).ignore_errors()
    # One more row, so that there is a batch even if nothing was readable.
    spare = tf.nest.map_structure(_zeros, made.element_spec)
    made = made.concatenate(tf.data.Dataset.from_tensors(spare))
    there, found = made.batch(count + 1).get_single_element()

    def whole() -> Row:
        return {name: value[:count] for name, value in found.items()}

    def mended() -> Row:
        missing = tf.reduce_all(places[:, None] != there[None, :-1], axis=1)
        lost = tf.boolean_mask(places, missing)
        again = tf.data.Dataset.from_tensor_slices(
            (tf.gather(position, lost), tf.gather(index, lost))
        )
        others = again.map(careful).batch(count).get_single_element()
        order = tf.argsort(tf.concat([there[:-1], lost], 0))
        return {
            name: tf.gather(tf.concat([value[:-1], others[name]], 0), order)
            for name, value in found.items()
        }

    made_rows = tf.cond(tf.size(there) == count + 1, whole, mended)
    shapes = made.element_spec[1]
    return {
        name: tf.ensure_shape(value, [count, *shapes[name].shape])
        for name, value in made_rows.items()
    }


def _zeros(spec: tf.TensorSpec) -> tf.Tensor:
    return tf.zeros(spec.shape, spec.dtype)
