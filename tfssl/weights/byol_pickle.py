"""What the records in a BYOL checkpoint mean: arrays, mappings, named tuples.

The published files are dill pickles of protocol 2 with haiku, optax and jax objects;
none of these packages is needed or imported. Known forms: dill of 2020 (functions by
`_get_attr` of `_import_module`), dill of today (`_create_array`), and plain pickle
(classes by name).
"""

from __future__ import annotations

import functools
import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from tfssl.errors import CheckpointError, message
from tfssl.weights.symbolic_pickle import Call, Name, load
from tfssl.weights.tensors import Tensor

_DILL = "dill._dill"
_MULTIARRAY = (
    "numpy.core.multiarray",
    "numpy._core.multiarray",
    "numpy.core._multiarray_umath",
    "numpy._core._multiarray_umath",
)
_RECONSTRUCT = {Name(module, "_reconstruct") for module in _MULTIARRAY}
_SCALAR = {Name(module, "scalar") for module in _MULTIARRAY}
_MAPPINGS = {
    Name("haiku._src.data_structures", name)
    for name in ("FlatMapping", "FlatMap", "frozendict")
} | {Name("collections", "OrderedDict"), Name("builtins", "dict")}
_NDARRAY, _DTYPE = Name("numpy", "ndarray"), Name("numpy", "dtype")
_BYTES, _ENCODE = Name("builtins", "bytes"), Name("_codecs", "encode")
_GET_ATTR, _IMPORT = Name(_DILL, "_get_attr"), Name(_DILL, "_import_module")
_CREATE_ARRAY = Name(_DILL, "_create_array")
_CREATE_RECORD = Name(_DILL, "_create_namedtuple")
_JAX_ARRAY = Name("jax._src.array", "_reconstruct_array")

_FUNCTIONS = (
    {_DTYPE, _BYTES, _ENCODE, _GET_ATTR, _IMPORT, _CREATE_ARRAY, _CREATE_RECORD}
    | {_JAX_ARRAY}
    | _RECONSTRUCT
    | _SCALAR
    | _MAPPINGS
)
_RECORD_MODULE = re.compile(
    r"byol\.(byol_experiment|utils\.optimizers)|optax(\._src)?(\.\w+)?"
)
_IMPORTABLE = {name.module for name in _FUNCTIONS}
_DTYPE_TEXT = re.compile(r"[fiub][1248]")


def load_tree(path: Path) -> Any:
    """Reads a BYOL checkpoint's pickle; every name in it that is not known is refused.

    Raises:
      CheckpointError: It asks for anything but the known names, or is damaged.
    """
    return load(path, _objection)


def _objection(value: Name | Call) -> str | None:
    """What is wrong with a global or a call; None if it is a known one."""
    if isinstance(value, Name):
        known = value in _FUNCTIONS or value == _NDARRAY or _is_record(value)
        return None if known else f"the global {value}"
    function, arguments = value.function, value.arguments
    if function == _IMPORT:
        wrong = len(arguments) != 1 or arguments[0] not in _IMPORTABLE
        return f"the module {_shown(arguments)}" if wrong else None
    if function == _CREATE_RECORD:
        return None if _record_name(value) else f"the class {_shown(arguments)}"
    if function == _GET_ATTR:
        known = _function(value) in _FUNCTIONS
        return None if known else f"the attribute {_shown(arguments)}"
    if isinstance(function, Name):
        known = function in _FUNCTIONS or _is_record(function)
        return None if known else f"a call of {function}"
    known = _function(function) in _FUNCTIONS or _record_name(function) is not None
    return None if known else "a call of what another call returns"


def _shown(arguments: tuple) -> str:
    parts = (a if isinstance(a, str) else type(a).__name__ for a in arguments)
    return ", ".join(part[:60] for part in parts)


def _is_record(name: Name) -> bool:
    # A class of the official program or of optax: a named tuple, never made.
    return bool(_RECORD_MODULE.fullmatch(name.module)) and name.name.isidentifier()


def _record_name(value: Any) -> Name | None:
    """The name in a call of dill's `_create_namedtuple(name, fields, module)`."""
    if not isinstance(value, Call) or value.function != _CREATE_RECORD:
        return None
    if len(value.arguments) != 3 or not isinstance(value.arguments[1], tuple | list):
        return None
    name, fields, module = value.arguments
    if not all(isinstance(text, str) for text in (name, module, *fields)):
        return None
    named = Name(module, name)
    return named if _is_record(named) and all(map(str.isidentifier, fields)) else None


def _function(value: Any) -> Name | None:
    """The function behind a name, or behind dill's attribute of a module."""
    if isinstance(value, Name):
        return value
    if isinstance(value, Call) and value.function == _GET_ATTR:
        match value.arguments:
            case (Call(function=f, arguments=(str(module),)), str(name)):
                return Name(module, name) if f == _IMPORT else None
    return None


def record(value: Any, fields: tuple[str, ...]) -> dict[str, Any]:
    """The fields of a named tuple.

    Args:
      value: A call of its class.
      fields: Its fields, for files that give the class by name only.

    Raises:
      CheckpointError: It is something else.
    """
    if isinstance(value, Call):
        made = _record_name(value.function)
        if made:
            fields = tuple(value.function.arguments[1])
        named = made or (value.function if isinstance(value.function, Name) else None)
        if named and _is_record(named) and len(fields) == len(value.arguments):
            return dict(zip(fields, value.arguments, strict=True))
    raise _not("a named tuple of " + ", ".join(fields), value)


def mapping(value: Any) -> dict[str, Any]:
    """The items of a dictionary or of one of haiku's mappings.

    Raises:
      CheckpointError: It is something else.
    """
    if isinstance(value, Call) and value.function in _MAPPINGS:
        value = value.arguments[0] if len(value.arguments) == 1 else value
    if type(value) is dict and all(isinstance(key, str) for key in value):
        return value
    raise _not("a mapping by name", value)


def array(value: Any, key: str) -> Tensor:
    """An array; its bytes stay the text that they are in the file until it is read.

    Raises:
      CheckpointError: It is something else, or of a type that is no number.
    """
    if isinstance(value, bool | int | float):
        number = np.asarray(value, np.float32 if isinstance(value, float) else np.int64)
        return Tensor((), str(number.dtype), lambda: number, key)
    call = _as_call(value, key)
    if call.function in _SCALAR:
        dtype, raw = call.arguments
        return _tensor((), _dtype(dtype, key), False, raw, key)
    _, shape, dtype, fortran, raw = _state(call, key)
    return _tensor(shape, _dtype(dtype, key), fortran, raw, key)


def _as_call(value: Any, key: str) -> Call:
    """`_reconstruct(...)` with its state, out of the wrappers of dill and jax."""
    if isinstance(value, Call) and value.function in (_CREATE_ARRAY, _JAX_ARRAY):
        function, arguments, state = value.arguments[:3]
        value = Call(function, arguments, state)
    if isinstance(value, Call):
        known = _function(value.function)
        if known in _RECONSTRUCT or known in _SCALAR:
            return Call(known, value.arguments, value.state)
    raise _not(f"an array for {key}", value)


def _state(call: Call, key: str) -> tuple:
    if not isinstance(call.state, tuple) or len(call.state) != 5:
        raise _not(f"the state of an array for {key}", call.state)
    shape = call.state[1]
    if not isinstance(shape, tuple) or not all(
        type(n) is int and n >= 0 for n in shape
    ):
        raise _not(f"a shape for {key}", shape)
    return call.state


def _dtype(value: Any, key: str) -> np.dtype:
    if isinstance(value, Call) and value.function == _DTYPE and value.arguments:
        text = value.arguments[0]
        order = value.state[1] if isinstance(value.state, tuple) else "<"
        number = isinstance(text, str) and _DTYPE_TEXT.fullmatch(text)
        if number and order in ("<", ">", "|", "="):
            return np.dtype(order + text)
    raise _not(f"a numeric type for {key}", value)


def _tensor(shape: tuple, dtype: np.dtype, fortran: Any, raw: Any, key: str) -> Tensor:
    read = functools.partial(_read, shape, dtype, bool(fortran), raw, key)
    return Tensor(shape, dtype.name, read, key)


def _read(
    shape: tuple, dtype: np.dtype, fortran: bool, raw: Any, key: str
) -> np.ndarray:
    if isinstance(raw, Call) and raw.function == _BYTES and not raw.arguments:
        raw = b""
    if isinstance(raw, Call) and _function(raw.function) == _ENCODE:
        # Protocol 2 has no bytes: they are text, to be encoded again.
        text, encoding = raw.arguments
        if isinstance(text, str) and encoding in ("latin1", "latin-1"):
            raw = _bytes(text, key)
    if not isinstance(raw, bytes) or len(raw) != math.prod(shape) * dtype.itemsize:
        raise _not(f"{math.prod(shape)} numbers for {key}", raw)
    flat = np.frombuffer(raw, dtype).astype(dtype.newbyteorder("="), copy=False)
    return flat.reshape(shape, order="F" if fortran else "C")


def _bytes(text: str, key: str) -> bytes:
    try:
        return text.encode("latin1")
    except UnicodeEncodeError:
        raise _not(f"bytes for {key}", text) from None


def _not(expected: str, value: Any) -> CheckpointError:
    got = type(value).__name__
    if isinstance(value, Call):
        got = f"a call of {_function(value.function) or _record_name(value.function)}"
    elif isinstance(value, bytes):
        got = f"{len(value)} bytes"
    return CheckpointError(
        message(
            f"{got} in the pickle",
            expected,
            "a pre-training checkpoint of the official BYOL, or another copy of it",
        )
    )
