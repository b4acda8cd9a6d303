"""`--mode=pretrain`: trains a method, resumes it, and watches it by kNN."""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
from pathlib import Path

from tfssl import build
from tfssl.augment import describe
from tfssl.build import trained
from tfssl.config import Config
from tfssl.config.flagfile import from_flagfile
from tfssl.config.inherit import FLAGS_FILE, contradictions
from tfssl.config.remote import is_remote
from tfssl.errors import ConfigError, Stopped
from tfssl.runs import RunDirectory
from tfssl.tasks import Outcome
from tfssl.tasks.online_knn import OnlineKnn
from tfssl.train import Action, Job


def run(config: Config) -> Outcome:
    """Trains to the end, or to a signal.

    Order on disk: lock, compare flags, build everything (so that bad data leaves no
    trace), restore, write `flags.cfg`, cut the log to the step restored, train. Of
    several workers the chief alone reads and writes the directory.

    Args:
      config: Resolved configuration.

    Raises:
      Stopped: A signal ended it after a checkpoint.
    """
    with contextlib.ExitStack() as opened:
        directory = None
        if build.is_chief(config):
            directory = opened.enter_context(RunDirectory(config.run_dir))
            _refuse_another_run(config, directory)
        source = build.training_source(config)
        job = build.pretraining(config, source)
        job = dataclasses.replace(
            job,
            actions=_scores(config, job, chief=directory is not None),
        )
        recipe = build.recipe(config)
        recorder = build.recorder(
            config,
            job,
            directory,
            recipe,
            name="pretrain",
            title=config.method,
            texts=trained.provenance_texts(config.init_from),
            lines=[describe(recipe)],
        )
        try:
            job.run(recorder)
        except Stopped as stopped:
            stopped.how = _how_to_continue(config.run_dir)
            raise
    return Outcome(config.run_dir)


def _refuse_another_run(config: Config, directory: RunDirectory) -> None:
    """The command line was checked before; another process may have been quicker."""
    if directory.flags.exists():
        stored = from_flagfile(directory.flags.read_text("utf-8"))
        if problems := contradictions(config, stored):
            raise ConfigError(problems)


def _scores(config: Config, job: Job, *, chief: bool) -> list[Action]:
    """The online kNN. Every worker has the action: it says how many steps a call makes.

    Raises:
      DataError: `--knn_every` without labels; nothing was written then.
    """
    if not config.knn_every:
        return []
    every = max(1, round(config.knn_every * job.steps_per_epoch))
    if not chief:
        return [Action(every, lambda step: None)]
    knn = OnlineKnn(config, job.source, job.state.method)
    return [Action(every, knn.score)]


def _how_to_continue(run_dir: str) -> str:
    if is_remote(run_dir):
        return " the same command, on this machine or another"
    flagfile = shlex.quote(str(Path(run_dir) / FLAGS_FILE))
    return f"\n  python -m tfssl.main --flagfile={flagfile}"
