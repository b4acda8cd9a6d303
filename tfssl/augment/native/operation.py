"""`TfsslCutViews` in TensorFlow: compiled and registered once per process."""

from __future__ import annotations

import ctypes
import functools

import numba
import tensorflow as tf

from tfssl.augment.native import c_api, cutting

_NAME = "TfsslCutViews"
_INPUTS = {"image": tf.uint8, "views": tf.int32, "size": tf.int32}


@functools.cache
def register() -> None:
    """Compiles the operation, or loads it from numba's cache, and registers it.

    Raises:
      Exception: Whatever LLVM, numba or TensorFlow find to object to.
    """
    if _known():  # to TensorFlow, from before this module was loaded a second time
        return
    compiled = _compiled()
    # For ever: threads of TensorFlow may run it while Python is taken down.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(compiled))
    inputs = [f"{name}: {dtype.name}" for name, dtype in _INPUTS.items()]
    c_api.register(_NAME, inputs, "out: uint8", compiled.address)


def _known() -> bool:
    # To register a name twice would end the process.
    try:
        with tf.Graph().as_default():
            tf.graph_util.import_graph_def(_graph())
    except tf.errors.NotFoundError:
        return False
    return True


def _compiled():
    # Without it LLVM leaves the four floats of a pixel apart: half as fast.
    before = numba.config.SLP_VECTORIZE
    numba.config.SLP_VECTORIZE = 1
    try:
        return _cached()
    finally:
        numba.config.SLP_VECTORIZE = before


def _cached():
    compute = numba.cfunc(cutting.SIGNATURE, cache=True)
    try:
        return compute(cutting.compute)
    except (OSError, RuntimeError):  # no room or no right to write the cache
        return numba.cfunc(cutting.SIGNATURE)(cutting.compute)


def call(image: tf.Tensor, views: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Calls the operation; see `tfssl.augment.native.cut_views`."""
    given = dict(zip(_INPUTS, (image, views, size), strict=True))
    [out] = tf.graph_util.import_graph_def(_graph(), given, ["cut_views:0"], name="")
    return out


@functools.cache
def _graph():
    """Returns a graph of the operation; TensorFlow makes no Python function of it."""
    graph = tf.Graph().as_graph_def()
    for name, dtype in _INPUTS.items():
        node = graph.node.add(name=name, op="Placeholder")
        node.attr["dtype"].type = dtype.as_datatype_enum
    graph.node.add(name="cut_views", op=_NAME, input=list(_INPUTS))
    return graph
