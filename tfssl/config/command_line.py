"""The command line: absl flags made from the groups of flags. No TensorFlow."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence

from absl import flags

from tfssl.config import launch
from tfssl.config.complete import completed
from tfssl.config.config import Config, specs
from tfssl.config.flag import Spec, from_home
from tfssl.config.flagfile import expanded, parse_values
from tfssl.config.inherit import Parsed, stored_config
from tfssl.config.remote import is_remote
from tfssl.errors import ConfigError, message


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
    return completed(parsed), parsed.given


def parse(argv: Sequence[str]) -> Parsed:
    """Reads a command line; what cannot be read is listed, not raised.

    Args:
      argv: Program name, then arguments.

    Returns:
      Values, names of given flags, and problems.
    """
    known = specs()
    texts, rest, problems = _read(argv, known)
    method = texts.get("method") or _stored_method(texts)
    if ":" in method:
        # A method from elsewhere has flags of its own, and may load TensorFlow.
        asked = Config(strategy=texts.get("strategy", Config.strategy))
        if not launch.problems(asked, os.environ):
            launch.prepare(asked, os.environ)
        known = specs(method)
        texts, rest, problems = _read(argv, known)
    problems += _leftovers(rest, known)
    values, wrong = parse_values(texts, known)
    if ":" in method:
        config = Config(**{"method": method, **values})
    else:
        config = Config(**values)
    return Parsed(config, frozenset(values), (*problems, *wrong), _typed(argv, known))


class _AsText(flags.ArgumentParser[str]):
    """Keeps a value as it was written."""

    def parse(self, argument: str) -> str:
        return argument

    def flag_type(self) -> str:
        return "text"


def _read(
    argv: Sequence[str], known: Mapping[str, Spec]
) -> tuple[dict[str, str], list[str], list[str]]:
    """Lets absl read `--noflag`, and tell which flags were given.

    It keeps the text; we read the values, because absl stops at the first wrong one.

    Returns:
      Text of every flag given, arguments that are no flag of ours, and problems.
    """
    values = flags.FlagValues()
    values.set_gnu_getopt(True)
    for name, spec in known.items():
        flag = flags.Flag(_AsText(), None, name, None, spec.help, boolean=spec.boolean)
        flags.DEFINE_flag(flag, values)
    problems: list[str] = []
    rest: list[str] = []
    try:
        arguments = expanded(argv[1:])
        rest = values([argv[0], *arguments], known_only=True)[1:]
    except ConfigError as error:
        problems += error.problems
    except (flags.Error, ValueError) as error:
        got = str(error).removeprefix("ERROR:: ")
        problems.append(message(got, "--flag=value or --flagfile=FILE", "--help"))
    texts = {name: str(values[name].value) for name in known if values[name].present}
    return texts, rest, problems


def _stored_method(texts: Mapping[str, str]) -> str:
    """The method of the run that a command names; empty where there is none to read."""
    names = ["init_from", "run_dir"]
    if texts.get("mode", "").startswith("distill"):
        names.insert(0, "teacher")
    path = from_home(next((texts[name] for name in names if texts.get(name)), ""))
    if is_remote(path):
        return ""  # Only TensorFlow reads that; --method names one from elsewhere.
    try:
        stored = stored_config(path) if path else None
    except (ConfigError, OSError, UnicodeDecodeError):
        return ""  # reported when the command line is completed
    return stored.method if stored else ""


def _typed(argv: Sequence[str], known: Mapping[str, Spec]) -> frozenset[str]:
    """Names of the flags on the command line itself, not in a flagfile."""
    names = {a.lstrip("-").partition("=")[0] for a in argv[1:] if a.startswith("-")}
    negated = {
        name.removeprefix("no")
        for name in names
        if name.startswith("no") and name not in known
    }
    return frozenset((names | negated) & known.keys())


def _leftovers(rest: Sequence[str], known: Mapping[str, Spec]) -> list[str]:
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
        problems.append(_unknown_flag(name, known))
    return problems


def _unknown_flag(name: str, known: Mapping[str, Spec]) -> str:
    names = [*known, *(f"no{n}" for n, spec in known.items() if spec.boolean)]
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    hint = f"--{near[0]} (did you mean that?)" if near else "--help"
    return message(f"the unknown flag --{name}", "a flag that --help lists", hint)
