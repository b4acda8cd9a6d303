"""Configurations as text: absl flagfiles, written and read without absl.

Layer 0, no TensorFlow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfssl.config.config import Config, specs
from tfssl.config.flag import Spec
from tfssl.errors import ConfigError, message, unknown


def parse_value(name: str, spec: Spec, text: str) -> Any:
    """Reads one flag's value as written on a command line or in a flagfile.

    Raises:
      ConfigError: The text is not of the flag's kind.
    """
    try:
        return spec.kind.parse(text)
    except ValueError:
        near = spec.kind.text(spec.default) if spec.default else spec.kind.example
        hint = f"--{name} or --no{name}" if spec.boolean else f"--{name}={near}"
        raise ConfigError(message(f"--{name}={text}", spec.kind.name, hint)) from None


def parse_values(
    texts: Mapping[str, str], known: Mapping[str, Spec]
) -> tuple[dict[str, Any], list[str]]:
    """Reads the values of known flags.

    Returns:
      Flag to value, and the problems of those that cannot be read.
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    for name, text in texts.items():
        try:
            values[name] = parse_value(name, known[name], text)
        except ConfigError as error:
            problems += error.problems
    return values, problems


def to_flagfile(config: Config) -> str:
    """Writes a configuration as an absl flagfile; `from_flagfile` is its inverse."""
    lines = []
    for name, spec in config.specs.items():
        if f"# {spec.group}" not in lines:
            lines.append(f"# {spec.group}")
        if not config.left_open(name):
            lines.append(f"--{name}={config.text(name)}")
    return "\n".join(lines) + "\n"


def from_flagfile(text: str) -> Config:
    """Reads what `to_flagfile` wrote.

    Raises:
      ConfigError: A line is no flag of ours, or its value has the wrong type.
    """
    texts: dict[str, str] = {}
    for line in map(str.strip, text.splitlines()):
        if line and not line.startswith(("#", "//")):
            name, _, value = line.removeprefix("--").partition("=")
            texts[name] = value
    known = specs(texts.get("method", ""))
    strange = [name for name in texts if name not in known]
    problems = [
        unknown("the flag", f"--{n}", (f"--{k}" for k in known)) for n in strange
    ]
    read = {name: value for name, value in texts.items() if name in known}
    values, wrong = parse_values(read, known)
    if problems or wrong:
        raise ConfigError(problems + wrong)
    return Config(**values)
