"""One file per `--mode`, each with `run(config) -> Outcome`; and the chain of them.

What is here loads no TensorFlow before the flags are known to be right.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from tfssl.config import Config, launch, modes, startup, tables
from tfssl.config.complete import completed
from tfssl.config.dense_cells import WEIGHTS, is_table
from tfssl.config.inherit import Parsed
from tfssl.config.label_cells import is_curve
from tfssl.config.remote import is_remote
from tfssl.config.rules import field_problems
from tfssl.config.tasks import TASKS
from tfssl.errors import ConfigError, TfsslError, message

_KERAS = {"floatx": "float32", "image_data_format": "channels_last"}
"""Settings of the process that would round images, or turn them on their side."""


class Outcome(NamedTuple):
    """What is left when a task is done.

    Attributes:
      run: The run directory that the task trained or converted, which is what the next
        one is about; None: still the one that this one was about.
      value: What the function of this name in `tfssl` returns, scores or a path; None:
        the trained run.
      flags: Flags of that run which the modes after this one go on with, where they
        are not the command's.
    """

    run: str | None = None
    value: Any = None
    flags: Mapping[str, Any] = MappingProxyType({})


def run(
    parsed: Parsed, wording: Callable[[str], str] | None = None
) -> tuple[Config, list[Any]]:
    """Runs the modes that a command asks for, in order.

    Each is about the run that the one before left: `finetune,export` exports what was
    fine-tuned, `convert,knn` scores what was imported. A report is written into the
    command's own run directory, and is also about what began from the run in it.

    Args:
      parsed: The command.
      wording: How warnings that are printed name arguments. None, in a program that
        shows log messages by itself: they are left to it.

    Returns:
      The configuration after the last mode: its `init_from`, else its `run_dir`, is
      the run that the last mode was about. And each mode's value.

    Raises:
      ConfigError: The command is wrong; nothing was done.
      TfsslError: A mode failed.
      Stopped: A signal ended a training after a checkpoint.
    """
    config = _configuration(parsed)
    prepare(config)
    from tfssl import build
    from tfssl.core import runtime
    from tfssl.core.python_calls import python_errors_raised
    from tfssl.runs import RunDirectory
    from tfssl.show import console
    from tfssl.tasks.preconditions import passed_over

    if wording or not logging.getLogger("tfssl").hasHandlers():
        console.route_warnings(wording or str)
    build.begin_command()
    own, values = config.run_dir, []
    left, skipped = modes(config), None
    while left:
        mode = left[0]
        asked = config
        if mode == "report" and config.run_dir != own:
            asked = dataclasses.replace(config, run_dir=own, init_from=config.run_dir)
        several = config.strategy == launch.MULTIWORKER
        with (
            runtime.lost_workers_named(config.run_dir, several=several),
            python_errors_raised(),
        ):
            if skipped is None and TASKS[mode].images:
                if several and TASKS[mode].all_workers:
                    build.strategy(config)  # before any other operation of TensorFlow
                skipped = passed_over(config, left)
                for name, reason in skipped.items():
                    console.say(f"{name} is passed over: {reason}")
            left = left[1:]
            share = launch.share(asked, mode, os.environ)
            if share is None or mode in (skipped or ()):
                continue  # the chief's alone, or without what it needs
            if is_curve(share) and "label_seeds" in TASKS[mode].flags():
                from tfssl.tasks import label_curve

                earlier = modes(config)[: -len(left) - 1].count(mode)
                outcome = label_curve.run(share, mode, task(mode), earlier)
            elif is_table(share) and mode in WEIGHTS:
                from tfssl.tasks import dense_table

                outcome = dense_table.run(share, mode, task(mode))
            else:
                outcome = task(mode)(share)
            if TASKS[mode].images and build.is_chief(config):
                RunDirectory(asked.run_dir).add_reading(**build.how_read())
        values.append(outcome.value)
        if mode == "convert":
            config = completed(parsed)  # what the file held stands in the run now
        if outcome.run is not None:
            start = {"run_dir": outcome.run, "init_from": "", **outcome.flags}
            config = dataclasses.replace(config, **start)
    return config, values


def task(mode: str) -> Callable[[Config], Outcome]:
    """Loads the function of a mode."""
    return tables.attribute(TASKS[mode].run)


def prepare(config: Config) -> None:
    """Loads TensorFlow as a configuration needs it.

    Raises:
      TfsslError: Keras was loaded before, for something else than TensorFlow, or is set
        to other numbers or another order of axes.
    """
    startup.prepare_environment()
    launch.prepare(config, os.environ)
    loaded = "tensorflow" in sys.modules
    with startup.without_chatter(hold=not loaded and config.strategy != "tpu"):
        import keras

        if (backend := keras.backend.backend()) != "tensorflow":
            raise TfsslError(
                message(
                    f"Keras with the backend {backend}",
                    "tensorflow",
                    "KERAS_BACKEND=tensorflow before anything imports Keras",
                )
            )
        for name, wanted in _KERAS.items():
            if (found := getattr(keras.config, name)()) != wanted:
                raise TfsslError(
                    message(
                        f"Keras with {name} {found}",
                        f"{wanted}, in which networks are built here",
                        f"keras.config.set_{name}({wanted!r}), or ~/.keras/keras.json",
                    )
                )
        from tfssl.core import runtime

        runtime.require_graphs()
        runtime.find_devices()
    runtime.split_cpu(config.virtual_devices)


def _configuration(parsed: Parsed) -> Config:
    """The configuration to run, by what a remote run directory holds too.

    TensorFlow reads that, so it loads before the rest of the flags is known; what it
    needs to know for that must be on the command line.

    Raises:
      ConfigError: Anything is wrong.
      RemoteError: A remote directory cannot be read.
    """
    asked = parsed.config
    places = (asked.run_dir, asked.init_from, asked.teacher, *asked.dense_runs)
    if not any(map(is_remote, places)):
        return completed(parsed)
    wrong = [*parsed.problems, *field_problems(asked)]
    if wrong := wrong or launch.problems(asked, os.environ):
        raise ConfigError(wrong)
    prepare(asked)
    config = completed(parsed)
    if config.strategy == "tpu" != asked.strategy:
        raise ConfigError(
            message(
                f"strategy=tpu in the stored flags of {asked.run_dir} alone",
                "it on the command line, as it must be known before those are read",
                "adding strategy=tpu, or another strategy",
            )
        )
    return config


__all__ = ["Outcome", "prepare", "run", "task"]
