"""Holds a new command against the flags of the run that it is about.

Layer 0, no TensorFlow. An evaluation takes over every flag that its command line does
not give; pre-training in a directory that holds another run is refused.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from tfssl.config.config import Config, difference, identity, known_row, resolve
from tfssl.config.distill_flags import DistillFlags
from tfssl.config.flag import specs_of
from tfssl.config.flagfile import decoded, from_flagfile
from tfssl.config.remote import as_path, is_remote, same_place
from tfssl.config.tables import METHOD_OF_SOURCE, SOURCE_KINDS
from tfssl.config.tasks import StartFlags
from tfssl.errors import ConfigError, message

FLAGS_FILE = "flags.cfg"
_OF_THE_COMMAND = ("mode", "run_dir", "init_from", *specs_of(DistillFlags))
_OF_THE_COMMAND += ("detect_weights", "segment_weights", *specs_of(StartFlags))


class Parsed(NamedTuple):
    """A command line.

    Attributes:
      config: Its values, defaults where it says nothing.
      given: Names of the flags that it, or a flagfile on it, gives.
      problems: What could not be read at all.
      typed: Of `given`, those that stand on the command line itself; None: all.
    """

    config: Config
    given: frozenset[str]
    problems: tuple[str, ...] = ()
    typed: frozenset[str] | None = None


def stored_config(path: str) -> Config | None:
    """Reads the flags of the run that a path belongs to.

    Args:
      path: A run directory, or a checkpoint up to two levels inside of one; a URL
        too.

    Returns:
      Its configuration, or None where there is no run.

    Raises:
      ConfigError: `flags.cfg` is not ours or damaged.
      RemoteError: A URL cannot be read.
    """
    start = as_path(path)
    for folder in (start, *start.parents[:2]):
        file = folder / FLAGS_FILE
        if file.is_file():
            try:
                return resolve(from_flagfile(decoded(file.read_bytes())))
            except UnicodeError as error:
                raise ConfigError(
                    message(f"{file}: {error}", "the flags of a run", "a backup of it")
                ) from error
    return None


def inherit(parsed: Parsed, stored: Config, *, student: bool = False) -> Config:
    """Returns the configuration of an evaluation: the stored run's and given flags.

    `--mode`, `--run_dir` and `--init_from` are always the command's. A given flag may
    change what does not touch the weights; with `--init_from`, whose results go to a
    directory of their own, also what only made them (data, optimiser).

    Args:
      parsed: The evaluation's command line.
      stored: The run's configuration.
      student: The command begins with another network that the run teaches: any flag
        may differ.

    Returns:
      The resolved configuration to evaluate with.

    Raises:
      ConfigError: Given flags contradict the stored run; all are listed.
    """
    stored = resolve(stored)
    specs = stored.specs
    fixed = identity(stored)
    of_weights = {name for name, spec in specs.items() if spec.scope == "encoder"}
    if parsed.config.init_from or stored.source:
        # Converted weights saw none of our data: any may be evaluated with them.
        fixed = of_weights
    if student:
        fixed = set()
    # An empty value leaves these to the method; of others it is a value.
    row = known_row(stored.method)
    decided = row.published(stored).keys() if row else set()
    values = {
        name: value
        for name in sorted(parsed.given)
        if (value := getattr(parsed.config, name)) is not None
        and not (name in decided and parsed.config.left_open(name))
    }
    source = parsed.config.init_from or parsed.config.run_dir
    problems = [
        message(
            f"--{name}={parsed.config.text(name)} for the run in {source}",
            f"--{name}={_text(stored, name)}, with which it was trained",
            f"leaving --{name} away"
            + ("" if name in of_weights else _ELSEWHERE.format(source)),
        )
        for name, value in values.items()
        if name in fixed
        and name not in _OF_THE_COMMAND
        and value != getattr(stored, name, None)
    ]
    if problems:
        raise ConfigError(problems)
    values |= {name: getattr(parsed.config, name) for name in _OF_THE_COMMAND}
    return dataclasses.replace(stored, **values)


def open_for_the_source(parsed: Parsed) -> Config:
    """Returns a conversion's configuration, with what the file decides left open.

    Encoder, image size and method are open (`""`, None) where they are not given, so
    that what is given can be held against the file.
    """
    config = parsed.config
    kind = config.source.partition(":")[0]
    open_: dict[str, object] = {"encoder": "", "image_size": None}
    named = METHOD_OF_SOURCE.get(kind, kind)
    open_["method"] = named if kind in SOURCE_KINDS else config.method
    values = {k: v for k, v in open_.items() if k not in parsed.given}
    return dataclasses.replace(config, **values)  # type: ignore[arg-type]


def foreign_start(config: Config) -> list[str]:
    """Returns why a new run cannot take the encoder of the run in `--init_from`.

    The names of weights tell neither paddings nor pooling: an encoder of another
    family would load and be wrong.
    """
    stored = stored_config(config.init_from) if config.init_from else None
    if stored is None:
        if not is_remote(config.init_from):
            return []  # a folder of this disk may hold checkpoints alone
        return [
            message(
                f"--init_from={config.init_from}, which holds no run",
                "a run directory, with its flags.cfg, or a checkpoint in one",
                "the run directory",
            )
        ]
    config = resolve(config)
    return [
        message(
            f"--{name}={value} with --init_from={config.init_from}",
            f"--{name}={expected}, as the run there has it",
            f"--{name}={expected}",
        )
        for name, value, expected in difference(
            config, stored, only=("encoder", "encoder_family", "normalization")
        )
    ]


def not_converted(config: Config, stored: Config) -> list[str]:
    """Returns why `--mode=convert` cannot write into a stored run's directory."""
    if stored.source:
        return []
    return [
        message(
            f"--mode=convert in --run_dir={config.run_dir}, which holds a run",
            "an empty folder, or one of the same conversion",
            "another --run_dir",
        )
    ]


_ELSEWHERE = ", or --init_from={} with another --run_dir"


def contradictions(config: Config, stored: Config) -> list[str]:
    """Returns why a run directory that holds `stored` cannot go on as `config`.

    Returns:
      Nothing where it can; else one sentence that lists every differing flag with
      both values.
    """
    if stored.source:
        return [
            message(
                f"--mode=pretrain in --run_dir={config.run_dir}, which holds weights "
                f"converted from {stored.source}",
                "a run of our own: there is no optimiser to go on with",
                f"--init_from={config.run_dir} with another --run_dir, "
                f"--encoder={stored.encoder} and "
                f"--encoder_family={stored.encoder_family}",
            )
        ]
    config, stored = resolve(config), resolve(stored)
    if same_place(config.init_from, stored.init_from):
        stored = dataclasses.replace(stored, init_from=config.init_from)
    both = identity(config) | identity(stored)
    names = [name for name, _, _ in difference(config, stored, only=both)]
    if not names:
        return []
    asked = " ".join(f"--{name}={_text(config, name)}" for name in names)
    holds = " ".join(f"--{name}={_text(stored, name)}" for name in names)
    return [
        message(
            f"{asked} in --run_dir={config.run_dir}",
            f"what the run in it was started with: {holds}",
            f"another --run_dir, or --flagfile={config.run_dir}/{FLAGS_FILE} to go on",
        )
    ]


def _text(config: Config, name: str) -> str:
    """A value as written; nothing where the method has no such flag."""
    return config.text(name) if name in config.specs else ""
