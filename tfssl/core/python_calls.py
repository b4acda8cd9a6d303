"""Errors that Python functions inside a graph raise, brought out whole.

TensorFlow hands an exception of a `tf.numpy_function` on as the text of an `OpError`:
cut off in the middle, inside the names of a dozen nodes, and of a class that anything
else may raise too. Here the exception itself is kept, and raised again by the caller.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tfssl.errors import TfsslError

_raised: list[TfsslError] = []


def python_call(
    function: Callable[..., Any], inputs: list[tf.Tensor], dtypes: Any, **more: Any
) -> Any:
    """Calls a Python function from a graph, as `tf.numpy_function` does.

    Args:
      function: NumPy arrays to NumPy arrays. A `TfsslError` of it reaches whoever runs
        the graph inside `python_errors_raised`.
      inputs: Its arguments.
      dtypes: Types of its results.
      **more: Of `tf.numpy_function`.

    Returns:
      Its results as tensors.
    """

    @functools.wraps(function)
    def remembering(*arrays: np.ndarray) -> Any:
        try:
            return function(*arrays)
        except TfsslError as error:
            # One unreadable data set fails in every thread; the first one is the cause.
            if not _raised:
                _raised.append(error)
            raise

    return tf.numpy_function(remembering, inputs, dtypes, **more)


@contextlib.contextmanager
def python_errors_raised() -> Iterator[None]:
    """Raises the first error of a `python_call` in place of TensorFlow's account of it.

    An error that leaves here holds no tf.data iterator: one that lives on in the frames
    of a traceback until the interpreter ends waits for Python, which waits for it.

    Raises:
      TfsslError: As it was raised inside the graph.
    """
    _raised.clear()
    try:
        yield
    except BaseException as error:
        # `yield` is our own frame, so that what runs on is not cleared.
        found = _raised[0] if _raised and isinstance(error, tf.errors.OpError) else None
        cause: BaseException | None = error
        while cause is not None:
            traceback.clear_frames(cause.__traceback__)
            cause = cause.__context__
        gc.collect()
        if found is None:
            raise
        raise found.with_traceback(None) from None
    finally:
        _raised.clear()
