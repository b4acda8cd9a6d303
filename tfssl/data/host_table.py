"""Tables of millions of numbers or texts for use inside `tf.data`, by index.

Each is one string: TensorFlow keeps strings in the host's memory on every machine
(an integer table would be copied to a GPU and back for each example), it is made in
one copy, and a look-up is a slice.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf


class Numbers:
    """Integers by index.

    Args:
      values: int64 `[n]`.
    """

    def __init__(self, values: np.ndarray):
        self._bytes = tf.constant(np.asarray(values, "<i8").tobytes())

    def __call__(self, index: tf.Tensor) -> tf.Tensor:
        """The int64 scalar at an int64 scalar index."""
        place = tf.cast(index, tf.int64) * 8
        piece = tf.strings.substr(self._bytes, place, tf.constant(8, tf.int64))
        return tf.ensure_shape(tf.io.decode_raw(piece, tf.int64), [1])[0]


class Texts:
    """Byte strings by index.

    Args:
      values: Any number of byte strings.
    """

    def __init__(self, values: Sequence[bytes]):
        lengths = np.fromiter(map(len, values), np.int64, len(values))
        self._joined = b"".join(values)
        self._edges = np.concatenate([[0], np.cumsum(lengths)])
        self._bytes, self._ends = tf.constant(self._joined), Numbers(self._edges)

    def __call__(self, index: tf.Tensor) -> tf.Tensor:
        """The string scalar at an int64 scalar index."""
        start, stop = self._ends(index), self._ends(index + 1)
        return tf.strings.substr(self._bytes, start, stop - start)

    def at(self, index: int) -> bytes:
        """The byte string at an index, outside of any graph."""
        return self._joined[self._edges[index] : self._edges[index + 1]]
