"""Reads a pickle without executing it: globals stay names, calls stay records.

The usual unpickler imports whatever a file names and calls it with whatever arguments
the file gives: opening a pickle is running a program. This one has no way to do so. A
global becomes a `Name`, a call becomes a `Call` that remembers function, arguments and
state, and containers become containers. What a record means is decided afterwards, by
code of ours that knows a handful of names (`tfssl.weights.byol_pickle`).
"""

from __future__ import annotations

import dataclasses
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tfssl.errors import CheckpointError, message


class Name(NamedTuple):
    """A global by its name; nothing was imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclasses.dataclass(eq=False)
class Call:
    """A call that was not made.

    Attributes:
      function: A `Name`, or a `Call` that would return a function.
      arguments: Positional arguments.
      state: What `__setstate__` would have got, or None.
    """

    function: Name | Call
    arguments: tuple
    state: Any = None


class Refused(CheckpointError):
    """A pickle that asks for more than data."""

    def __init__(self, path: Path, what: str):
        super().__init__(
            message(
                f"{path}, which asks for {what}",
                "a pickle of arrays in dictionaries; nothing in it was executed",
                "a file from a source that you trust; if this one is right, report it",
            )
        )


def load(path: Path, check: Callable[[Name | Call], str | None]) -> Any:
    """Reads one pickle.

    Args:
      path: The file.
      check: Called with every global, and with every call before it is recorded;
        returns what is wrong with it, or None.

    Returns:
      Its content, with `Name` and `Call` in place of objects.

    Raises:
      Refused: `check` objects, or an instruction is not one of data.
      CheckpointError: It is no pickle, or cut short.
    """
    machine = _Machine(path, check)
    try:
        with open(path, "rb") as data:
            for opcode, argument, _ in pickletools.genops(data):
                machine.step(opcode.name, argument)
        return machine.stack.pop()
    except (Refused, OSError):
        raise
    except Exception as error:
        # Whatever a damaged stack raises: IndexError, TypeError, MemoryError, ...
        reason = str(error) or type(error).__name__
        raise CheckpointError(
            message(
                f"{reason} while reading {path}",
                "a whole pickle file",
                "another copy of the file",
            )
        ) from error


class _Mark:
    """Where a group of items begins on the stack."""


class _Machine:
    """The pickle machine, of which only the instructions for data exist."""

    def __init__(self, path: Path, check: Callable[[Name | Call], str | None]):
        self.stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._path = path
        self._check = check

    def step(self, opcode: str, argument: Any) -> None:
        """Executes one instruction."""
        if opcode in _IGNORED:
            return
        if opcode in _LITERALS:
            self.stack.append(argument)
        elif opcode in _CONSTANTS:
            self.stack.append(_CONSTANTS[opcode]())
        elif opcode in _PUT:
            self._memo[int(argument)] = self.stack[-1]
        elif opcode in _GET:
            self.stack.append(self._memo[int(argument)])
        elif action := getattr(self, f"_{opcode.lower()}", None):
            action(argument)
        else:
            raise Refused(self._path, f"the instruction {opcode}")

    def _memoize(self, _: Any) -> None:
        self._memo[len(self._memo)] = self.stack[-1]

    def _items(self) -> list[Any]:
        at = len(self.stack) - 1
        while not isinstance(self.stack[at], _Mark):
            at -= 1
            if at < 0:
                raise ValueError("items without a mark")
        items = self.stack[at + 1 :]
        del self.stack[at:]
        return items

    def _global(self, argument: str) -> None:
        self._push_name(*argument.split(" ", 1))

    def _stack_global(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self._push_name(module, name)

    def _push_name(self, module: str, name: str) -> None:
        # The names that protocol 2 gives to modules of Python 3.
        self._push_checked(Name({"__builtin__": "builtins"}.get(module, module), name))

    def _push_checked(self, value: Name | Call) -> None:
        if problem := self._check(value):
            raise Refused(self._path, problem)
        self.stack.append(value)

    def _reduce(self, _: Any) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, Name | Call) or not isinstance(arguments, tuple):
            raise Refused(self._path, f"a call of {type(function).__name__}")
        self._push_checked(Call(function, arguments))

    _newobj = _reduce

    def _build(self, _: Any) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if not isinstance(target, Call) or target.state is not None:
            raise Refused(self._path, f"a state for {type(target).__name__}")
        target.state = state

    def _pop(self, _: Any) -> None:
        self.stack.pop()

    def _pop_mark(self, _: Any) -> None:
        self._items()

    def _dup(self, _: Any) -> None:
        self.stack.append(self.stack[-1])

    def _tuple(self, _: Any) -> None:
        self.stack.append(tuple(self._items()))

    def _tuple1(self, _: Any) -> None:
        self._last(1)

    def _tuple2(self, _: Any) -> None:
        self._last(2)

    def _tuple3(self, _: Any) -> None:
        self._last(3)

    def _last(self, count: int) -> None:
        if len(self.stack) < count:
            raise ValueError(f"{len(self.stack)} items for a tuple of {count}")
        items = tuple(self.stack[-count:])
        del self.stack[-count:]
        self.stack.append(items)

    def _list(self, _: Any) -> None:
        self.stack.append(self._items())

    def _dict(self, _: Any) -> None:
        self._fill({}, self._items())

    def _fill(self, target: Any, items: list[Any]) -> None:
        if type(target) is not dict:
            raise Refused(self._path, f"items for {type(target).__name__}")
        target.update(zip(items[::2], items[1::2], strict=True))
        self.stack.append(target)

    def _setitem(self, _: Any) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._fill(self.stack.pop(), [key, value])

    def _setitems(self, _: Any) -> None:
        items = self._items()
        self._fill(self.stack.pop(), items)

    def _append(self, _: Any) -> None:
        item = self.stack.pop()
        self._extend([item])

    def _appends(self, _: Any) -> None:
        self._extend(self._items())

    def _extend(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            kind = type(self.stack[-1]).__name__
            raise Refused(self._path, f"items for {kind}")
        self.stack[-1].extend(items)


_IGNORED = {"PROTO", "FRAME", "STOP"}
_LITERALS = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT",
    "BINFLOAT", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "STRING", "BINSTRING",
    "SHORT_BINSTRING",
}  # fmt: skip
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "MARK": _Mark,
}
_PUT = {"PUT", "BINPUT", "LONG_BINPUT"}
_GET = {"GET", "BINGET", "LONG_BINGET"}
