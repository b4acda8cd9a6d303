"""Machine code of our own where TensorFlow's kernels are slow: cutting views.

Compiled by numba and taken in by TensorFlow's interface for plug-ins, it is an
operation like any other: no Python runs in it, no thread waits for another. But it
exists in this process only, so neither in a SavedModel nor on other hosts; there
TensorFlow's own operations stand in, with the same bits.
"""

from __future__ import annotations

import functools
import logging

import tensorflow as tf

_LOG = logging.getLogger(__name__)


@functools.cache
def available() -> bool:
    """Returns whether `cut_views` works here; if not, a warning says why, once.

    Compiles it at the first call: five seconds, or half of one where numba finds it in
    its cache (`__pycache__` beside the code, or its directory in the user's cache).
    """
    try:
        from tfssl.augment.native import operation

        operation.register()
    # Whatever ails it, a run is better off slow than not at all: the bits are the same.
    except Exception as error:
        _LOG.warning(
            "views are cut by TensorFlow's own operations, which takes twice as long "
            "or more: %s: %s (numba is in requirements.txt)",
            type(error).__name__,
            error,
        )
        return False
    return True


def cut_views(image: tf.Tensor, views: tf.Tensor, size: int) -> tf.Tensor:
    """Crops, resizes, mirrors and rounds, in a graph; only after `available` said yes.

    Args:
      image: uint8 `[h, w, 3]`.
      views: int32 `[V, 6]`: y, x, height and width of the crop in pixels, 1 where it is
        mirrored, 1 where it is resized by PIL's antialiased bilinear filter and not by
        TensorFlow's bicubic one.
      size: Side S in pixels, >= 1.

    Returns:
      uint8 `[V, S, S, 3]`, halves rounded to even, clipped.

    Raises:
      ValueError, tf.errors.InvalidArgumentError: Other shapes; the latter, when run,
        also for a crop that is not within its image.
    """
    from tfssl.augment.native import operation

    image = tf.ensure_shape(image, [None, None, 3])
    views = tf.ensure_shape(views, [None, 6])
    out = operation.call(image, views, tf.constant(size))
    return tf.ensure_shape(out, [views.shape[0], size, size, 3])
