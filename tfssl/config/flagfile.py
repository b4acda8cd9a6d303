"""Configurations as text: absl flagfiles, written and read without absl.

Layer 0, no TensorFlow.
"""

from __future__ import annotations

from typing import Any

from tfssl.config import SPECS, Config, left_open
from tfssl.errors import ConfigError, message, unknown


def parse_value(name: str, text: str) -> Any:
    """Reads one flag's value as written on a command line or in a flagfile.

    Raises:
      ConfigError: The text is not of the flag's type.
    """
    kind = SPECS[name].kind
    words = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}
    try:
        return words[text.lower()] if kind is bool else kind(text)
    except (KeyError, ValueError):
        expected = {
            bool: ("true or false", f"--{name} or --no{name}"),
            int: ("a whole number", f"--{name}={SPECS[name].default or 1}"),
            float: ("a number", f"--{name}={SPECS[name].default or 0.1}"),
        }[kind]
        raise ConfigError(message(f"--{name}={text}", *expected)) from None


def to_flagfile(config: Config) -> str:
    """Writes a configuration as an absl flagfile; `from_flagfile` is its inverse."""
    lines = []
    for name, spec in SPECS.items():
        if f"# {spec.group}" not in lines:
            lines.append(f"# {spec.group}")
        value = getattr(config, name)
        if not left_open(name, value):
            text = str(value).lower() if spec.kind is bool else str(value)
            lines.append(f"--{name}={text}")
    return "\n".join(lines) + "\n"


def from_flagfile(text: str) -> Config:
    """Reads what `to_flagfile` wrote.

    Raises:
      ConfigError: A line is no flag of ours, or its value has the wrong type.
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    for line in map(str.strip, text.splitlines()):
        if not line or line.startswith(("#", "//")):
            continue
        name, _, value = line.removeprefix("--").partition("=")
        if name not in SPECS:
            problems.append(unknown("the flag", f"--{name}", (f"--{n}" for n in SPECS)))
            continue
        try:
            values[name] = parse_value(name, value)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return Config(**values)
