"""`Config`: everything a run depends on, by groups of flags.

Layer 0, no TensorFlow. The shared groups are in `groups`, the methods' own flags in
`methods`, the modes' in `tasks`; rules between flags are in `rules` and beside the
method that they are of.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from tfssl.config.flag import Flags, Spec, specs_of
from tfssl.config.groups import (
    GROUPS,
    Data,
    Images,
    Job,
    Machine,
    Network,
    Precision,
    Recording,
    Service,
    Training,
)
from tfssl.config.method_row import MethodRow
from tfssl.config.methods import METHODS
from tfssl.config.outside import outside_row
from tfssl.config.tasks import task_specs
from tfssl.errors import ConfigError, message, unknown


def method_row(method: str) -> MethodRow:
    """Returns the row of a method.

    Args:
      method: A name of `METHODS`, or `MODULE:NAME` of a `MethodRow` elsewhere.

    Raises:
      ConfigError: There is none, or it takes the name of a mode's flag.
    """
    if method in METHODS:
        return METHODS[method]
    if ":" in method:
        row = outside_row(method)
        if taken := sorted(row.specs().keys() & task_specs().keys()):
            raise ConfigError(
                message(
                    f"--method={method} with a flag --{taken[0]} of its own",
                    "names that no mode has",
                    "another name",
                )
            )
        return row
    raise ConfigError(unknown("--method", method, METHODS))


def known_row(method: str) -> MethodRow | None:
    """Returns the row of a method, or None where `method_row` would raise."""
    try:
        return method_row(method)
    except ConfigError:
        return None


def owners(name: str) -> list[str]:
    """Returns the methods of `METHODS` that have an own flag of this name."""
    return [method for method, row in METHODS.items() if name in row.specs()]


@functools.cache
def specs(method: str = "") -> Mapping[str, Spec]:
    """Returns every flag that a command line with this method may hold.

    Args:
      method: As in `method_row`; the bounds of its own flags are those of its row.
        Empty or unknown: the methods of `METHODS` alone.
    """
    row = known_row(method)
    own = _methods_specs() | (row.specs() if row else {})
    found: dict[str, Spec] = {}
    for group in GROUPS:
        if group is Training:
            found |= own
        found |= specs_of(group)
        if group is Training:
            found |= task_specs()
    return MappingProxyType(found)


def _methods_specs() -> dict[str, Spec]:
    """Own flags of all methods; where their sentences differ, all of them."""
    found: dict[str, Spec] = {}
    said: dict[str, dict[str, list[str]]] = {}
    for method, row in METHODS.items():
        for name, spec in row.specs().items():
            found.setdefault(name, spec)
            said.setdefault(name, {}).setdefault(spec.help, []).append(method)
    for name, sentences in said.items():
        by = [f"{', '.join(who)}: {text}" for text, who in sentences.items()]
        found[name] = found[name]._replace(help="; ".join(by))
    return found


@dataclasses.dataclass(frozen=True, init=False)
class Config(
    Job, Data, Images, Network, Training, Recording, Precision, Machine, Service
):
    """One run: frozen, comparable, written to `run_dir/flags.cfg`.

    A flag is read by its name, whichever group it belongs to (`config.batch_size`,
    `config.temperature`): names are unique, as on the command line, and a flag that
    moves from a method to a shared group moves in one place. A part that is to see one
    group only takes `Data`, or `config.of(BYOLFlags)`.

    `None`, `""` and `()` leave a value to the method; `resolve` fills them in, and the
    types are those after it.

    Args:
      own: Values of methods' and modes' own flags; those that no method here and no
        mode has are dropped.
      **flags: Any flag by its name; the others have their defaults.

    Raises:
      ConfigError: A name is no flag.
    """

    own: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __init__(self, own: Mapping[str, Any] | None = None, **flags: Any):
        known = specs(flags.get("method", Network.method))
        shared = {f.name for f in dataclasses.fields(Config)} - {"own"}
        if strange := [name for name in flags if name not in known]:
            raise ConfigError([unknown("the flag", name, known) for name in strange])
        for name in shared:
            object.__setattr__(self, name, flags.get(name, known[name].default))
        values = {**(own or {}), **flags}
        others = {
            name: values.get(name, spec.default)
            for name, spec in known.items()
            if name not in shared
        }
        object.__setattr__(self, "own", MappingProxyType(others))

    def __getattr__(self, name: str) -> Any:
        """Returns an own flag of a method or a mode; None where it is left open."""
        own = self.__dict__.get("own", {})
        if name in own:
            return own[name]
        raise AttributeError(f"{type(self).__name__} has no flag {name}")

    def __eq__(self, other: object) -> bool:
        """Compares every flag."""
        if not isinstance(other, Config):
            return NotImplemented
        return self.values() == other.values()

    def __reduce__(self) -> Any:
        """Pickles as the call that makes it."""
        return _made, (self.values(),)

    @property
    def specs(self) -> Mapping[str, Spec]:
        """Its flags by name, in the order of `--help`."""
        return specs(self.method)

    def values(self) -> dict[str, Any]:
        """Returns every flag's value, in the order of `--help`."""
        return {name: getattr(self, name) for name in self.specs}

    def of(self, group: type[Any]) -> Any:
        """Returns one group of flags as its own dataclass, such as `BYOLFlags`."""
        return group(**{name: getattr(self, name) for name in specs_of(group)})

    def left_open(self, name: str) -> bool:
        """Returns True where a flag leaves the choice to the method."""
        return self.specs[name].left_open(getattr(self, name))

    def text(self, name: str) -> str:
        """Returns a flag's value as it is written on a command line."""
        value = getattr(self, name)
        return "" if value is None else self.specs[name].kind.text(value)


SPECS: Mapping[str, Spec] = specs()
"""Flag to what is known of it, in the order of `--help`; methods elsewhere have more,
see `Config.specs`."""

RESUMABLE = frozenset(name for name, spec in SPECS.items() if spec.scope == "free")
"""Flags that may change when a run is resumed."""

IDENTITY = frozenset(SPECS) - RESUMABLE
"""Flags that make a run what it is."""


def modes(config: Config) -> list[str]:
    """Returns the modes to run, in order; `[]` where `--mode` is empty."""
    return [mode for part in config.mode.split(",") if (mode := part.strip())]


def resolve(config: Config) -> Config:
    """Fills in what the flags leave to the method (`MethodRow.published`).

    Args:
      config: Any configuration. An unknown method is left alone; `rules` names it.

    Returns:
      A configuration in which every flag that its method has, has a value.
      `resolve` of it is itself.
    """
    row = known_row(config.method)
    if row is None:
        return config
    table = row.published(config)
    open_ = {name: value for name, value in table.items() if config.left_open(name)}
    return dataclasses.replace(config, **open_)  # type: ignore[arg-type]


def difference(
    a: Config, b: Config, only: Iterable[str] | None = None
) -> list[tuple[str, Any, Any]]:
    """Returns the flags in which two configurations differ, as (flag, a's, b's).

    Args:
      a: One.
      b: The other.
      only: Names of flags to look at; None: all.
    """
    left, right = a.values(), b.values()
    names = [n for n in {**left, **right} if only is None or n in set(only)]
    pairs = [(name, left.get(name), right.get(name)) for name in names]
    return [pair for pair in pairs if pair[1] != pair[2]]


def identity(config: Config) -> set[str]:
    """Returns the names of the flags that make a run what it is."""
    return {name for name, spec in config.specs.items() if spec.scope != "free"}


def _made(values: dict[str, Any]) -> Config:
    return Config(**values)


__all__ = ["Config", "Flags", "Spec", "difference", "modes", "resolve"]
