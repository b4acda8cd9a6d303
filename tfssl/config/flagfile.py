"""Configurations as text: absl flagfiles, written and read without absl.

Layer 0, no TensorFlow.
"""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tfssl.config.config import Config, method_row, specs
from tfssl.config.flag import Spec
from tfssl.errors import ConfigError, a_path_that_exists, message, unknown


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


def expanded(arguments: Sequence[str], within: Sequence[str] = ()) -> list[str]:
    """Puts the lines of flagfiles in the place of `--flagfile=FILE`.

    A flagfile may name another one, by a path relative to its own folder or to the
    working directory; so a family of recipes shares a file wherever it is called from.

    Args:
      arguments: Of a command line, or lines of a flagfile.
      within: The flagfiles that these lines are in, outermost first.

    Raises:
      ConfigError: A file that cannot be read, or that names itself.
    """
    found = []
    rest = iter(arguments)
    for argument in rest:
        name, equals, path = argument.partition("=")
        if name not in ("--flagfile", "-flagfile"):
            found.append(argument)
            continue
        path = os.path.expanduser(path.strip() if equals else next(rest, ""))
        beside = os.path.join(os.path.dirname(within[-1]) if within else "", path)
        path = beside if os.path.isfile(beside) else path
        try:
            if os.path.realpath(path) in map(os.path.realpath, within):
                raise OSError("it names itself")
            with open(path, "rb") as file:
                lines = [line.strip() for line in decoded(file.read()).splitlines()]
        except (OSError, UnicodeError) as error:
            raise ConfigError(
                message(
                    f"--flagfile={path}: {error}",
                    "a text file with a flag a line",
                    a_path_that_exists(),
                )
            ) from error
        flags = [line for line in lines if line and not line.startswith(("#", "//"))]
        for line in filter(_QUOTED.fullmatch, flags):
            raise ConfigError(
                message(
                    f"{line} in {path}",
                    "a value without quotes: no shell takes them off a flagfile",
                    re.sub(_QUOTED, r"\1\3", line),
                )
            )
        found += expanded(flags, (*within, path))
    return found


_QUOTED = re.compile(r"""(--?\w+=)(["'])(.*)\2""")


def decoded(data: bytes) -> str:
    """The text of a flagfile: UTF-8, or UTF-16 by its mark, as Windows' editors write.

    Raises:
      UnicodeError: It is neither.
    """
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return data.decode("utf-16" if wide else "utf-8-sig")


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
    method = texts.get("method", "")
    if ":" in method:
        method_row(method)  # its flags are unknown without it: better said so
    known = specs(method)
    strange = [name for name in texts if name not in known]
    problems = [
        unknown("the flag", f"--{n}", (f"--{k}" for k in known)) for n in strange
    ]
    read = {name: value for name, value in texts.items() if name in known}
    values, wrong = parse_values(read, known)
    if problems or wrong:
        raise ConfigError(problems + wrong)
    return Config(**values)
