"""Reads the pickle of a BYOL checkpoint without running anything that it names.

Python's unpickler imports whatever a file names and calls it with whatever arguments
the file gives: opening a pickle is running a program. Here `find_class` knows a closed
list of names and imports none of them. Each stands for an object of this module that
holds what the file says about an array, and does nothing else.

The published files are dill pickles of protocol 2 with haiku, optax and jax objects;
none of these packages is needed. Known forms: dill of 2020 (functions by `_get_attr` of
`_import_module`), dill of today (`_create_array`), plain pickle (classes by name).
"""

from __future__ import annotations

import copyreg
import functools
import math
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tfssl.errors import CheckpointError, message
from tfssl.weights.published import Tensor

_RECORDS = re.compile(
    r"byol\.(byol_experiment|utils\.optimizers)|optax(\._src)?(\.\w+)?"
)
"""Modules whose classes are named tuples of the training program."""
_DTYPE_TEXT = re.compile(r"[fiub][1248]")


class _Refused(Exception):
    """What a pickle asks for beyond data."""


class _Inert:
    """What a name in the file stands for: it takes no state and no attribute.

    Without `__setstate__`, the BUILD instruction sets attributes by name.
    """

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        raise _Refused(f"a state for {type(self).__name__.strip('_')}")


class _Function(_Inert):
    """A function of ours in place of the one that the file names."""

    __slots__ = ("_run",)

    def __init__(self, run: Callable[..., Any]):
        self._run = run

    def __call__(self, *arguments: Any) -> Any:
        return self._run(*arguments)


class _Text(_Inert):
    """Bytes as protocol 2 writes them: Latin-1 text, encoded when they are read."""

    __slots__ = ("text",)

    def __init__(self, text: str, encoding: str):
        if type(text) is not str or encoding not in ("latin1", "latin-1"):
            raise _Refused(f"a text in the encoding {encoding!r:.60}")
        self.text = text


class _Stated(_Inert):
    """An array or a type of numbers: arguments of its call, then its state, once."""

    __slots__ = ("arguments", "state")

    def __init__(self, *arguments: Any):
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        if self.state is not None:
            raise _Refused("a second state for one array")
        self.state = state


class _Array(_Stated):
    __slots__ = ()


class _Scalar(_Stated):
    __slots__ = ()


class _Dtype(_Stated):
    __slots__ = ()


class _Module(_Inert):
    __slots__ = ("name",)

    def __init__(self, name: str):
        if name not in {module for module, _ in _KNOWN}:
            raise _Refused(f"the module {name!r:.60}")
        self.name = name


class _Record(_Inert):
    """A named tuple: the values, and the fields where the file has them."""

    __slots__ = ("values",)
    fields: tuple[str, ...] | None = None

    def __new__(cls, *values: Any) -> _Record:
        # And no `__init__`, which the NEWOBJ instruction does not call.
        made = super().__new__(cls)
        made.values = values
        return made


def _record_class(name: str, fields: Any, module: str) -> type[_Record]:
    """Stands for dill's `_create_namedtuple(name, fields, module)`."""
    _known(module, name, records_only=True)
    texts = isinstance(fields, tuple | list) and [f for f in fields if type(f) is str]
    if not isinstance(texts, list) or not all(f.isidentifier() for f in texts):
        raise _Refused(f"the fields {fields!r:.60}")
    return type("_Named", (_Record,), {"__slots__": (), "fields": tuple(texts)})


def _filled(make: Any, arguments: tuple, state: Any, *_: Any) -> _Stated:
    """Stands for dill's `_create_array` and jax's `_reconstruct_array`."""
    made = make(*arguments) if isinstance(make, _Function) else None
    if type(made) not in (_Array, _Scalar):
        raise _Refused(f"an array made by {type(make).__name__.strip('_')}")
    made.__setstate__(state)
    return made


def _mapping(*items: Any) -> dict:
    if len(items) > 1 or not all(type(item) is dict for item in items):
        raise _Refused("a mapping made of something else than one")
    return items[0] if items else {}


def _attribute(owner: Any, name: str) -> Any:
    """Stands for dill's `_get_attr`, which reads any attribute of anything."""
    if not isinstance(owner, _Module):
        raise _Refused(f"the attribute {name!r:.60} of a {type(owner).__name__}")
    return _known(owner.name, name)


_MULTIARRAY = (
    "numpy.core.multiarray",
    "numpy._core.multiarray",
    "numpy.core._multiarray_umath",
    "numpy._core._multiarray_umath",
)
_MAPPINGS = (
    ("haiku._src.data_structures", "FlatMapping"),
    ("haiku._src.data_structures", "FlatMap"),
    ("haiku._src.data_structures", "frozendict"),
    ("collections", "OrderedDict"),
    ("builtins", "dict"),
)
_KNOWN: dict[tuple[str, str], _Inert] = {
    ("numpy", "ndarray"): _Inert(),
    ("numpy", "dtype"): _Function(_Dtype),
    ("builtins", "bytes"): _Function(lambda: b""),
    ("_codecs", "encode"): _Function(_Text),
    ("dill._dill", "_get_attr"): _Function(_attribute),
    ("dill._dill", "_import_module"): _Function(_Module),
    ("dill._dill", "_create_array"): _Function(_filled),
    ("dill._dill", "_create_namedtuple"): _Function(_record_class),
    ("jax._src.array", "_reconstruct_array"): _Function(_filled),
    **{(module, "_reconstruct"): _Function(_Array) for module in _MULTIARRAY},
    **{(module, "scalar"): _Function(_Scalar) for module in _MULTIARRAY},
    **{name: _Function(_mapping) for name in _MAPPINGS},
}


def _known(module: str, name: str, records_only: bool = False) -> Any:
    """Returns what a name stands for.

    Raises:
      _Refused: It is not on the list.
    """
    if not records_only and (module, name) in _KNOWN:
        return _KNOWN[module, name]
    if _RECORDS.fullmatch(module) and name.isidentifier():
        return _Record
    raise _Refused(f"the global {module:.60}.{name:.60}")


class _Unpickler(pickle._Unpickler):  # type: ignore[name-defined]
    # Not the one in C: its memo grows to the highest number that a file names, which
    # 5 bytes of file can make gigabytes.

    def find_class(self, module: str, name: str) -> Any:
        # Protocol 2 writes the names of Python 2.
        return _known({"__builtin__": "builtins"}.get(module, module), name)

    def persistent_load(self, pid: Any) -> Any:
        raise _Refused("an object outside the file")


def load_tree(path: Path) -> Any:
    """Reads a BYOL checkpoint's pickle.

    Args:
      path: The file.

    Returns:
      Its content; `record`, `mapping` and `array` read the parts.

    Raises:
      CheckpointError: It asks for anything but the known names, or is damaged.
      OSError: It cannot be opened.
    """
    # An extension code that this process has met before would not ask `find_class`.
    copyreg.clear_extension_cache()
    try:
        with open(path, "rb") as data:
            return _Unpickler(data).load()
    except OSError:
        raise
    except _Refused as refused:
        got = f"{path}, which asks for {refused}"
    except Exception as error:
        # Whatever a damaged stack raises: IndexError, TypeError, MemoryError, ...
        got = f"{str(error) or type(error).__name__} while reading {path}"
    raise CheckpointError(
        message(
            got,
            "a whole pickle of arrays in dictionaries; nothing in it was executed",
            "another copy of the file, from a source that you trust",
        )
    ) from None


def record(value: Any, fields: tuple[str, ...]) -> dict[str, Any]:
    """Returns the fields of a named tuple.

    Args:
      value: Of `load_tree`.
      fields: Its fields, for files that give the class by name only.

    Raises:
      CheckpointError: It is something else.
    """
    if isinstance(value, _Record):
        names = fields if value.fields is None else value.fields
        if len(names) == len(value.values):
            return dict(zip(names, value.values, strict=True))
    raise _not("a named tuple of " + ", ".join(fields), value)


def mapping(value: Any) -> dict[str, Any]:
    """Returns the items of a dictionary or of one of haiku's mappings.

    Raises:
      CheckpointError: It is something else.
    """
    if type(value) is dict and all(isinstance(key, str) for key in value):
        return value
    raise _not("a mapping by name", value)


def array(value: Any, key: str) -> Tensor:
    """Returns an array, whose numbers stay as they are in the file until they are read.

    Args:
      value: Of `load_tree`.
      key: Its name, for `Tensor.key` and for messages.

    Raises:
      CheckpointError: It is something else, or of a type that is no number.
    """
    if isinstance(value, bool | int | float):
        number = np.asarray(value, np.float32 if isinstance(value, float) else np.int64)
        return Tensor((), str(number.dtype), lambda: number, key)
    if type(value) is _Scalar and len(value.arguments) == 2:
        (dtype, raw), shape, fortran = value.arguments, (), False
    elif type(value) is not _Array:
        raise _not(f"an array for {key}", value)
    elif not isinstance(value.state, tuple) or len(value.state) != 5:
        raise _not(f"the state of an array for {key}", value.state)
    else:
        _, shape, dtype, fortran, raw = value.state
    if not isinstance(shape, tuple) or not all(
        type(n) is int and n >= 0 for n in shape
    ):
        raise _not(f"a shape for {key}", shape)
    numeric = _numeric(dtype, key)
    read = functools.partial(_read, shape, numeric, bool(fortran), raw, key)
    return Tensor(shape, numeric.name, read, key)


def _numeric(value: Any, key: str) -> np.dtype:
    if type(value) is _Dtype and value.arguments:
        text = value.arguments[0]
        order = value.state[1] if isinstance(value.state, tuple) else "<"
        number = isinstance(text, str) and _DTYPE_TEXT.fullmatch(text)
        if number and order in ("<", ">", "|", "="):
            return np.dtype(order + text)
    raise _not(f"a numeric type for {key}", value)


def _read(
    shape: tuple, dtype: np.dtype, fortran: bool, raw: Any, key: str
) -> np.ndarray:
    if isinstance(raw, _Text):
        try:
            raw = raw.text.encode("latin1")
        except UnicodeEncodeError:
            raise _not(f"bytes for {key}", raw) from None
    if not isinstance(raw, bytes) or len(raw) != math.prod(shape) * dtype.itemsize:
        raise _not(f"{math.prod(shape)} numbers for {key}", raw)
    flat = np.frombuffer(raw, dtype).astype(dtype.newbyteorder("="), copy=False)
    return flat.reshape(shape, order="F" if fortran else "C")


def _not(expected: str, value: Any) -> CheckpointError:
    got = type(value).__name__.strip("_")
    if isinstance(value, bytes):
        got = f"{len(value)} bytes"
    return CheckpointError(
        message(
            f"{got} in the pickle",
            expected,
            "a pre-training checkpoint of the official BYOL, or another copy of it",
        )
    )
