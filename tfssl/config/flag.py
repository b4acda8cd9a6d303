"""One field of a dataclass is one flag: default, help, bounds and choices together.

A group of flags is a frozen dataclass whose fields are made by `flag`. Layer 0.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple


class Kind(NamedTuple):
    """A type of value, and how it is written.

    Attributes:
      name: For messages.
      parse: Text to value.

    Raises:
          ValueError: The text is not of this kind.
      text: Value to text; `parse` is its inverse.
      example: A text of this kind.
    """

    name: str
    parse: Callable[[str], Any]
    text: Callable[[Any], str]
    example: str


def _truth(text: str) -> bool:
    words = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}
    if text.lower() not in words:
        raise ValueError(text)
    return words[text.lower()]


def _numbers(text: str) -> tuple[float, ...]:
    found = tuple(float(part) for part in text.split(",") if part.strip())
    if not all(map(math.isfinite, found)):
        raise ValueError(text)
    return found


def _whole(text: str) -> int:
    value = int(text)
    if abs(value) >= 2**63:  # no computer counts so far, and a float may not hold it
        raise ValueError(text)
    return value


def _whole_numbers(text: str) -> tuple[int, ...]:
    return tuple(_whole(part) for part in text.split(",") if part.strip())


def _share(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return from_home(text)


def from_home(text: str) -> str:
    """A path with the home directory for a leading `~`, also behind `KIND:`.

    No shell does that inside of `--flag=~/runs`.
    """
    kind, colon, rest = text.partition(":")
    if colon and rest.startswith("~"):
        return f"{kind}:{os.path.expanduser(rest)}"
    return os.path.expanduser(text)


def _short(value: float | str) -> str:
    """A number as somebody would write it, exactly: 1, not 1.0."""
    if isinstance(value, str):
        return value
    return f"{value:g}" if float(f"{value:g}") == value else repr(value)


TEXT = Kind("text", str, str, "")
WHOLE = Kind("a whole number", _whole, str, "1")
NUMBER = Kind("a number", float, str, "0.1")
SWITCH = Kind("true or false", _truth, lambda value: str(value).lower(), "true")
AUTO_SWITCH = Kind(
    "auto, true or false",
    lambda text: None if text == "auto" else _truth(text),
    lambda value: "auto" if value is None else str(value).lower(),
    "auto",
)
NUMBERS = Kind(
    "numbers with commas between them",
    _numbers,
    lambda values: ",".join(map(_short, values)),
    "0.1,0.3,1",
)
WHOLES = Kind(
    "whole numbers with commas between them",
    _whole_numbers,
    lambda values: ",".join(map(str, values)),
    "30,60",
)
NAMES = Kind(
    "names with commas between them",
    lambda text: tuple(name for part in text.split(",") if (name := part.strip())),
    ",".join,
    "first,second",
)
PATH = Kind("a path", from_home, str, "runs/first")
PATHS = Kind(
    "paths with commas between them",
    lambda text: tuple(map(from_home, NAMES.parse(text))),
    ",".join,
    "runs/first,runs/second",
)
SHARE_OR_FILE = Kind("a share of 1, or a file", _share, _short, "0.1")

_OF_TYPE = {str: TEXT, int: WHOLE, float: NUMBER, bool: SWITCH}


class Spec(NamedTuple):
    """One flag, but for its value.

    Attributes:
      group: Heading in `--help`.
      help: One sentence.
      kind: How its values are written.
      default: Value when not given; None, "" or () lets the method decide, or is
        "none".
      choices: Allowed values, or empty.
      low: Smallest allowed number, or None.
      high: Largest allowed number, or None.
      above: Number that the value must exceed, or None.
      scope: `"encoder"` (what the weights mean; never changes), `"run"` (what made
        the weights; a run keeps it, an evaluation with `--init_from` may differ), or
        `"free"` (may change whenever a run is resumed or evaluated).
      published: What the method was published with on ImageNet; None for flags that
        are no method's own.
      small: The same for images up to 32 pixels; None: as published.
    """

    group: str
    help: str
    kind: Kind
    default: Any
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    above: float | None = None
    scope: str = "run"
    published: Any = None
    small: Any = None

    @property
    def boolean(self) -> bool:
        """True where `--noflag` is a way to write it."""
        return self.kind is SWITCH

    def left_open(self, value: object) -> bool:
        """Returns True for the value that leaves the choice to the method."""
        return value is None or (value in ("", ()) and self.default in (None, "", ()))


class Flags:
    """Base of every group of flags: `class Data(Flags, title="data", scope="run")`.

    Attributes:
      title: Heading in `--help`.
      scope: See `Spec`; a field may say another.
    """

    title: ClassVar[str] = ""
    scope: ClassVar[str] = "run"

    def __init_subclass__(cls, title: str = "", scope: str = "") -> None:
        """Notes what holds for every field of the group."""
        cls.title, cls.scope = title or cls.title, scope or cls.scope


def flag(default: Any, help: str, *, kind: Kind | None = None, **rest: Any) -> Any:
    """Makes a field that is a flag.

    Args:
      default: Its value when not given; in a method's own flags, what the method was
        published with.
      help: One sentence without a full stop.
      kind: How it is written; None: by the type of the default.
      **rest: Other attributes of `Spec`.
    """
    kind = kind or _OF_TYPE[type(default)]
    spec = Spec("", help, kind, default, **{"scope": "", **rest})
    return dataclasses.field(default=default, metadata={"spec": spec})


def specs_of(group: type[Flags]) -> dict[str, Spec]:
    """Flag to what is known of it, in the order of the fields."""
    found = {}
    for field in dataclasses.fields(group):  # type: ignore[arg-type]
        spec: Spec = field.metadata["spec"]
        scope = spec.scope or group.scope
        found[field.name] = spec._replace(group=group.title, scope=scope)
    return found
