"""The command line: absl flags made from `Config`, and `--help`. No TensorFlow."""

from __future__ import annotations

import dataclasses
import difflib
import os
import textwrap
from collections.abc import Sequence
from typing import Any

from absl import flags

from tfssl.config import (
    SPECS,
    Config,
    Spec,
    dataset_name,
    launch,
    modes,
    presets,
    resolve,
)
from tfssl.config.flagfile import parse_value
from tfssl.config.inherit import (
    Parsed,
    contradictions,
    foreign_start,
    inherit,
    left_to_the_file,
    not_converted,
    stored_config,
)
from tfssl.config.rules import field_problems, validate
from tfssl.errors import ConfigError, message

HELP_FLAGS = frozenset({"--help", "-help", "-h", "--helpfull", "--helpshort"})

_USAGE = """\
tfssl: self-supervised image representations (BYOL, SimCLR, MoCo).

  python -m tfssl.main --flagfile=flags/quickstart.cfg [--flag=value ...]

Later flags override earlier ones; --flagfile reads flags from a file, one a line.
A default in brackets depends on --method, and for images up to 32 pixels it is the
one published for CIFAR-10; run_dir/flags.cfg holds what was chosen.
"""


def read(argv: Sequence[str]) -> tuple[Config, frozenset[str]]:
    """Turns a command line into the configuration to run.

    Args:
      argv: Program name, then arguments.

    Returns:
      The resolved, checked configuration, and the names of the flags given.

    Raises:
      ConfigError: Anything is wrong; `problems` holds everything that is.
    """
    parsed = parse(argv)
    return settle(parsed), parsed.given


def parse(argv: Sequence[str]) -> Parsed:
    """Reads a command line; what cannot be read is listed, not raised.

    absl reads flagfiles and `--noflag`, and knows which flags were given. It keeps
    the text; we read the values, because absl stops at the first wrong one.

    Args:
      argv: Program name, then arguments.

    Returns:
      Values, names of given flags, and problems.
    """
    values = flags.FlagValues()
    values.set_gnu_getopt(True)
    for name, spec in SPECS.items():
        boolean = spec.kind is bool
        flag = flags.Flag(_AsText(), None, name, None, spec.help, boolean=boolean)
        flags.DEFINE_flag(flag, values)
    problems: list[str] = []
    rest: list[str] = []
    try:
        rest = values(list(argv), known_only=True)[1:]
    except (flags.Error, ValueError, OSError) as error:
        got = str(error).removeprefix("ERROR:: ")
        problems.append(message(got, "--flag=value or --flagfile=FILE", "--help"))
    problems += _leftovers(rest)
    found: dict[str, Any] = {}
    for name in SPECS:
        if values[name].present:
            try:
                found[name] = parse_value(name, str(values[name].value))
            except ConfigError as error:
                problems += error.problems
    config = dataclasses.replace(Config(), **found)
    return Parsed(config, frozenset(found), tuple(problems))


def settle(parsed: Parsed) -> Config:
    """Completes a command line by the stored run and the method, and checks it.

    Raises:
      ConfigError: Anything is wrong; `problems` holds everything that is.
    """
    config, problems = parsed.config, list(parsed.problems)
    if problems and not parsed.given:
        raise ConfigError(problems)  # nothing was read: the rest would be guesses
    names = set(modes(config))
    on_a_run = bool(names) and names <= {*presets.MODES_ON_A_RUN, "convert"}
    path = (on_a_run and config.init_from) or config.run_dir
    try:
        stored = stored_config(path) if path else None
        if "convert" in names and stored is None:
            return _before_the_file(parsed, problems)
        if "convert" in names and stored:
            problems += not_converted(config, stored)
        if on_a_run and path and not problems:
            config = inherit(parsed, _required(stored, path, config.mode))
        # Without the run, rules between flags would judge defaults that nobody chose.
        guess = on_a_run and not path
        problems += field_problems(config) if guess else validate(config)
        problems += missing_paths(config) + unread_flags(parsed)
        problems += launch.problems(config, os.environ)
        if not on_a_run and not problems:
            problems += contradictions(config, stored) if stored else _start(config)
    except ConfigError as error:
        problems += error.problems + field_problems(config)
    if problems:
        raise ConfigError(problems)
    return resolve(config)


def _before_the_file(parsed: Parsed, problems: list[str]) -> Config:
    """A conversion whose file says the rest, so it is neither resolved nor ruled on."""
    config = left_to_the_file(parsed)
    problems += field_problems(config)
    problems += missing_paths(config, source=config.source.partition(":")[2])
    if problems:
        raise ConfigError(problems)
    return config


def _start(config: Config) -> list[str]:
    """Problems of the weights that a new run is to start from."""
    if not config.source:
        return foreign_start(config)
    return [
        message(
            f"--source={config.source} with --mode={config.mode}",
            "--source only with --mode=convert",
            "--mode=convert into a run directory of its own, then --init_from of that",
        )
    ]


def missing_paths(config: Config, source: str = "") -> list[str]:
    """The local files and folders that a configuration names and that are not there."""
    gone = []
    for flag, start in (("init_from", config.init_from), ("source", source)):
        # A TensorFlow checkpoint is a prefix of several files.
        whole, prefix = os.path.exists(start), os.path.exists(start + ".index")
        if start and "://" not in start and not whole and not prefix:
            gone.append((flag, start))
    if set(modes(config)) - {"export", "report"}:
        absent = dataset_name.missing(config.dataset, config.data_dir)
        gone += [("dataset", path) for path in absent]
    if names := dataset_name.missing_list(config.label_fraction):
        gone.append(("label_fraction", names))
    return [
        message(
            f"--{flag}={getattr(config, flag)}: {path} is not there",
            "a path on this machine",
            f"a path that exists, seen from {os.getcwd()}",
        )
        for flag, path in gone
    ]


def unread_flags(parsed: Parsed) -> list[str]:
    """The flags given that none of the modes asked for reads."""
    return [
        message(
            f"--{name}={getattr(parsed.config, name)} with --mode={parsed.config.mode}",
            f"--mode={' or '.join(readers)}, which alone reads it",
            f"leaving --{name} away",
        )
        for name, readers in presets.MODES_OF_FLAG.items()
        if name in parsed.given
        and getattr(parsed.config, name) != SPECS[name].default
        and not set(readers).intersection(modes(parsed.config))
    ]


def help_text() -> str:
    """Our own flags by group, each with default, choices and bounds."""
    lines = [_USAGE]
    group = ""
    for name, spec in SPECS.items():
        if spec.group != group:
            group = spec.group
            lines.append(f"\n{group}:")
        lines.append(f"  --{name}={_default(name, spec)}")
        lines += textwrap.wrap(
            spec.help + _limits(spec), 84, initial_indent="      ",
            subsequent_indent="      ",
        )  # fmt: skip
    return "\n".join(lines)


class _AsText(flags.ArgumentParser[str]):
    """Keeps a value as it was written."""

    def parse(self, argument: str) -> str:
        return argument

    def flag_type(self) -> str:
        return "text"


def _required(stored: Config | None, path: str, mode: str) -> Config:
    if stored is None:
        raise ConfigError(
            message(
                f"--mode={mode} on {path}, which holds no run",
                "a run directory, with its flags.cfg",
                "--mode=pretrain first, or --init_from=RUN_DIR",
            )
        )
    return stored


def _leftovers(rest: Sequence[str]) -> list[str]:
    problems = []
    after_unknown = False
    for argument in rest:
        name = argument.lstrip("-").partition("=")[0]
        if not argument.startswith("-"):
            if not after_unknown:  # else it is the value of the unknown flag
                problems.append(
                    message(f"{argument!r}", "only --flag=value", f"--flag={argument}")
                )
            after_unknown = False
            continue
        after_unknown = "=" not in argument
        problems.append(_unknown_flag(name))
    return problems


def _unknown_flag(name: str) -> str:
    known = [*SPECS, *(f"no{n}" for n, spec in SPECS.items() if spec.kind is bool)]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    hint = f"--{near[0]} (did you mean that?)" if near else "--help"
    return message(f"the unknown flag --{name}", "a flag that --help lists", hint)


def _default(name: str, spec: Spec) -> str:
    if spec.kind is bool:
        return str(spec.default).lower()
    said = {m: table[name] for m, table in _METHOD_TABLES.items() if name in table}
    if said and spec.default in (None, ""):
        return f"({', '.join(f'{method}: {value}' for method, value in said.items())})"
    return str(spec.default)


_METHOD_TABLES = {
    method: dict.fromkeys(presets.BYOL_BY_EPOCHS[40], "by epochs") | dict(table)
    if method == "byol"
    else table
    for method, table in presets.METHOD_DEFAULTS.items()
}


def _limits(spec: Spec) -> str:
    parts = [" | ".join(spec.choices)] if spec.choices else []
    parts += [f">= {spec.low:.10g}"] if spec.low is not None else []
    parts += [f"> {spec.above:.10g}"] if spec.above is not None else []
    parts += [f"<= {spec.high:.10g}"] if spec.high is not None else []
    return f" ({', '.join(parts)})" if parts else ""
