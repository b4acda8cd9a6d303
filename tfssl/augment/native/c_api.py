"""TensorFlow's C interface for plug-ins, as functions for numba and for Python.

The interface of `tensorflow/c/kernels.h`, `ops.h`, `tf_tensor.h` and `tf_status.h`,
which TensorFlow keeps stable for plug-ins of other vendors and exports from
`libtensorflow_framework`. Pointers are integers here.
"""

from __future__ import annotations

import ctypes
import glob
import os

import llvmlite.binding
import tensorflow as tf
from numba import types
from numba.core.types import ExternalFunction

_POINTER, _INT, _NOTHING = types.intp, types.int32, types.void

INVALID_ARGUMENT = 3  # TF_INVALID_ARGUMENT
UINT8 = 4  # TF_UINT8


def _library() -> ctypes.CDLL:
    # `.so.2` on Linux, `.2.dylib` on macOS; it is loaded already.
    pattern = os.path.join(tf.sysconfig.get_lib(), "libtensorflow_framework.*")
    found = sorted(glob.glob(pattern))
    if not found:
        raise OSError(f"no {pattern}")
    return ctypes.CDLL(found[0])


LIBRARY = _library()


def _compiled(name: str, result: types.Type, *arguments: types.Type):
    """Returns a function of the library that numba's code can call."""
    address = ctypes.cast(getattr(LIBRARY, name), ctypes.c_void_p).value
    llvmlite.binding.add_symbol(name, address)
    return ExternalFunction(name, result(*arguments))


new_status = _compiled("TF_NewStatus", _POINTER)
delete_status = _compiled("TF_DeleteStatus", _NOTHING, _POINTER)
set_status = _compiled("TF_SetStatus", _NOTHING, _POINTER, _INT, _POINTER)
get_code = _compiled("TF_GetCode", _INT, _POINTER)
fail = _compiled("TF_OpKernelContext_Failure", _NOTHING, _POINTER, _POINTER)
get_input = _compiled("TF_GetInput", _NOTHING, _POINTER, _INT, _POINTER, _POINTER)
allocate_output = _compiled(
    "TF_AllocateOutput",
    _POINTER,
    *(_POINTER, _INT, _INT, _POINTER, _INT, types.uintp, _POINTER),
)
tensor_data = _compiled("TF_TensorData", types.voidptr, _POINTER)
tensor_dim = _compiled("TF_Dim", types.int64, _POINTER, _INT)
delete_tensor = _compiled("TF_DeleteTensor", _NOTHING, _POINTER)


def _plain(name: str, result: object, *arguments: object):
    """Returns a function of the library that Python can call."""
    function = getattr(LIBRARY, name)
    function.restype, function.argtypes = result, arguments
    return function


def register(name: str, inputs: list[str], output: str, compute: int) -> None:
    """Adds a stateless operation for CPUs to this process.

    Args:
      name: Of the operation, in CamelCase; one that is taken ends the process.
      inputs: Such as `"image: uint8"`.
      output: Likewise.
      compute: Address of its `void (*)(void* nothing, TF_OpKernelContext*)`, for ever.

    Raises:
      RuntimeError: TensorFlow does not take it.
    """
    void, text = ctypes.c_void_p, ctypes.c_char_p
    unknown_shape = ctypes.cast(LIBRARY.TF_ShapeInferenceContextSetUnknownShape, void)
    status = _plain("TF_NewStatus", void)()

    operation = _plain("TF_NewOpDefinitionBuilder", void, text)(name.encode())
    for argument in inputs:
        _plain("TF_OpDefinitionBuilderAddInput", None, void, text)(
            operation, argument.encode()
        )
    _plain("TF_OpDefinitionBuilderAddOutput", None, void, text)(
        operation, output.encode()
    )
    _plain("TF_OpDefinitionBuilderSetShapeInferenceFunction", None, void, void)(
        operation, unknown_shape
    )
    _plain("TF_RegisterOpDefinition", None, void, void)(operation, status)
    _check(status)

    kernel = _plain("TF_NewKernelBuilder", void, text, text, void, void, void)(
        name.encode(), b"CPU", None, compute, None
    )
    _plain("TF_RegisterKernelBuilder", None, text, void, void)(
        name.encode(), kernel, status
    )
    _check(status)
    _plain("TF_DeleteStatus", None, void)(status)


def _check(status: int) -> None:
    if _plain("TF_GetCode", ctypes.c_int, ctypes.c_void_p)(status):
        text = _plain("TF_Message", ctypes.c_char_p, ctypes.c_void_p)(status)
        raise RuntimeError(text.decode())
