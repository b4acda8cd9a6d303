"""Completes a command line by the stored run and the method, and checks it."""

from __future__ import annotations

import dataclasses
import os

from tfssl.config import dataset_name, launch
from tfssl.config.config import Config, modes, resolve
from tfssl.config.dense_cells import RANDOM, from_first
from tfssl.config.encoder_name import is_import_path
from tfssl.config.inherit import (
    Parsed,
    contradictions,
    foreign_start,
    inherit,
    not_converted,
    open_for_the_source,
    stored_config,
)
from tfssl.config.ownership import unread_flags
from tfssl.config.rules import field_problems, validate
from tfssl.config.tasks import TASKS
from tfssl.errors import ConfigError, a_path_that_exists, message


def completed(parsed: Parsed) -> Config:
    """Completes a command line by the stored run and the method, and checks it.

    Raises:
      ConfigError: Anything is wrong; `problems` holds everything that is.
    """
    config, problems = from_first(parsed.config), list(parsed.problems)
    parsed = parsed._replace(config=config)
    if problems and not parsed.given:
        raise ConfigError(problems)  # nothing was read: the rest would be guesses
    names = set(modes(config))
    needing = {name for name, task in TASKS.items() if task.on_a_run}
    on_a_run = bool(names) and names <= needing | {"convert"}
    path = (on_a_run and config.init_from) or config.run_dir
    student = modes(config)[:1] == ["distill"]
    if student:
        # The flags that are not given are the teacher's, as far as it has any.
        imported = is_import_path(config.teacher)
        path = config.run_dir if imported else config.teacher or config.run_dir
    try:
        stored = stored_config(path) if path else None
        weights = {"detect": config.detect_weights, "segment": config.segment_weights}
        seeded = bool(names) and all(weights.get(n) == "random" for n in names)
        needs_none = names == {"supervised"} or seeded or (student and imported)
        on_a_run = on_a_run and not (needs_none and stored is None)
        if "convert" in names and stored is None:
            return _conversion(parsed, problems)
        if "convert" in names and stored:
            problems += not_converted(config, stored)
        if on_a_run and path and not problems:
            run = _required(stored, path, config.mode)
            config = inherit(parsed, run, student=student)
        # Without the run, rules between flags would judge defaults that nobody chose.
        guess = on_a_run and not path
        problems += field_problems(config) if guess else validate(config)
        problems += missing_paths(config)
        problems += unread_flags(parsed, stored if on_a_run else None)
        problems += launch.problems(config, os.environ)
        if student and not problems:
            encoder = config.student_encoder[:1] or (config.encoder,)
            problems += _start(dataclasses.replace(config, encoder=encoder[0]))
        elif not on_a_run and not problems:
            problems += contradictions(config, stored) if stored else _start(config)
    except ConfigError as error:
        problems += error.problems + field_problems(config)
    if problems:
        raise ConfigError(problems)
    return resolve(config)


def missing_paths(config: Config, source: str = "") -> list[str]:
    """Returns a sentence for each local path that is named and is not there."""
    gone = []
    starts = [("source", source)]
    if config.init_from not in config.dense_runs:
        starts.append(("init_from", config.init_from))
    if not is_import_path(config.teacher):
        starts.append(("teacher", config.teacher))
    for flag, start in starts:
        # A TensorFlow checkpoint is a prefix of several files.
        whole, prefix = os.path.exists(start), os.path.exists(start + ".index")
        if start and "://" not in start and not whole and not prefix:
            gone.append((flag, start))
    for flag in ("query", "labelled"):
        path = getattr(config, flag)
        if (
            path
            and "://" not in path
            and not os.path.exists(path.removeprefix("list:"))
        ):
            gone.append((flag, path))
    runs = [("transfer_runs", path) for path in config.transfer_runs]
    runs += [("dense_runs", path) for path in config.dense_runs if path != RANDOM]
    gone += [f for f in runs if "://" not in f[1] and not os.path.exists(f[1])]
    if set(modes(config)) - {"export", "report", "search", "select", "transfer"}:
        absent = dataset_name.missing(config.dataset, config.data_dir)
        gone += [("dataset", path) for path in absent]
    if names := dataset_name.missing_list(config.label_fraction):
        gone.append(("label_fraction", names))
    return [
        message(
            f"--{flag}={config.text(flag)}: {path} is not there",
            "a path on this machine",
            a_path_that_exists(),
        )
        for flag, path in gone
    ]


def _conversion(parsed: Parsed, problems: list[str]) -> Config:
    """Checks a conversion, whose file decides the rest: only each flag by itself."""
    config = open_for_the_source(parsed)
    problems += field_problems(config)
    problems += missing_paths(config, source=config.source.partition(":")[2])
    problems += unread_flags(parsed, None)
    if problems:
        raise ConfigError(problems)
    return config


def _start(config: Config) -> list[str]:
    """Returns the problems of the weights that a new run is to start from."""
    if not config.source:
        return foreign_start(config)
    return [
        message(
            f"--source={config.source} with --mode={config.mode}",
            "--source only with --mode=convert",
            "--mode=convert into a run directory of its own, then --init_from of that",
        )
    ]


def _required(stored: Config | None, path: str, mode: str) -> Config:
    if stored is None:
        student = mode.startswith("distill")
        start = "--teacher=RUN" if student else "--init_from=RUN_DIR"
        raise ConfigError(
            message(
                f"--mode={mode} on {path}, which holds no run",
                "a run directory, with its flags.cfg",
                f"--mode=pretrain{',finetune' * student} first, or {start}",
            )
        )
    return stored
