"""`--mode=pretrain`: trains a method, resumes it, and watches it by kNN."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

from tfssl import build
from tfssl.config import Config, launch
from tfssl.config.flagfile import from_flagfile
from tfssl.config.inherit import contradictions
from tfssl.config.remote import is_remote
from tfssl.core import collectives, runtime
from tfssl.errors import ConfigError, DivergenceError
from tfssl.runs import RunDirectory
from tfssl.show import console
from tfssl.tasks.run_record import Recorded, Silent
from tfssl.train import (
    Action,
    StopRequest,
    make_run_steps,
    profile_steps,
    recovery,
    train,
)

STOPPED = 42
"""Exit code of a run that a signal ended after a checkpoint; start it again."""


def run(config: Config) -> int:
    """Trains to the end, or to a signal.

    Order on disk: lock, compare flags, build everything (so that bad data leaves no
    trace), write `flags.cfg`, restore, cut the log to the step restored, train. Of
    several workers the chief alone reads and writes the directory.

    Args:
      config: Resolved configuration.

    Returns:
      0, or 42 if a signal stopped the run after saving a checkpoint.
    """
    console.route_warnings()
    if not launch.is_chief(config, os.environ):
        return _Pretraining(config, None).run()
    with RunDirectory(config.run_dir) as directory:
        if directory.flags.exists():
            # The command line was checked before; another process may have been
            # quicker to the directory since.
            stored = from_flagfile(directory.flags.read_text())
            if problems := contradictions(config, stored):
                raise ConfigError(problems)
        return _Pretraining(config, directory).run()


class _Pretraining:
    """The parts of a run and the order in which they are used.

    Args:
      config: Resolved configuration.
      directory: Where this process records the run; None: another one does.
    """

    def __init__(self, config: Config, directory: RunDirectory | None):
        self._config = config
        self._strategy = build.strategy(config)
        runtime.set_precision(config.precision)
        source = build.training_source(config)
        self._input = build.pretraining_input(config, source, self._strategy)
        self._total = build.total_steps(config, source.num_examples)
        self._per_epoch = max(1, source.num_examples // config.batch_size)
        self._save_every = config.checkpoint_every or self._per_epoch
        with self._strategy.scope():
            self._state = build.state(config, source.num_examples, source.num_classes)
        self._record = (
            Recorded(config, source, self._state, directory, self._save_every)
            if directory
            else Silent(config, source, self._state)
        )

    def run(self) -> int:
        """See `run` above."""
        start = self._restore()
        devices = runtime.describe_devices(self._strategy)
        self._record.begin(start, self._total, devices)
        if start >= self._total:
            self._record.say(f"the run is complete: {start} of {self._total} steps")
            return 0
        with self._record, StopRequest() as stop:
            done = self._train(start, stop)
            self._record.finish()
        if done:
            return 0
        self._record.say(self._how_to_continue(stop.name or "a signal"))
        return STOPPED

    def _train(self, start: int, stop: StopRequest) -> bool:
        """Trains, with rewinds, until the end (True) or a signal (False)."""
        config = self._config
        given = self._input
        if steps := config.profile_steps:
            times = profile_steps(
                self._strategy, self._state, given.views, given.batches(start), steps
            )
            found = {"steps": steps, "milliseconds": times}
            self._record.profile(json.dumps(found, indent=1))
        run_steps = make_run_steps(
            self._strategy, self._state, given.views, micro_batches=config.micro_batches
        )
        while True:
            try:
                return train(
                    self._state,
                    run_steps,
                    given.batches(start),
                    total_steps=self._total,
                    steps_per_loop=config.steps_per_loop,
                    log_every=config.log_every,
                    images_per_step=config.batch_size,
                    on_row=self._record.row,
                    on_progress=self._record.progress,
                    actions=self._actions(),
                    stop=stop,
                    agree=recovery.agreement(self._strategy),
                )
            except DivergenceError as error:
                start = recovery.rewind(
                    error, self._state, config.rewind_on_nan, self._restore_again
                )

    def _actions(self) -> list[Action]:
        """The same on every worker: they say how many steps a call makes."""
        actions = [Action(self._save_every, self._record.save, at_stop=True)]
        if self._config.knn_every:
            every = max(1, round(self._config.knn_every * self._per_epoch))
            actions.insert(0, Action(every, self._record.score))
        return actions

    def _restore(self) -> int:
        """Where to begin, first that applies; of several workers the chief decides.

        1. The newest whole checkpoint of this run directory: everything.
        2. `--init_from`: the encoder's weights only; a new run.
        3. The seed.
        """
        self._record.restore()
        if runtime.num_workers(self._strategy) > 1:
            collectives.take_over_first(self._strategy, self._state.items().values())
        return int(self._state.step.numpy())

    def _restore_again(self) -> int:
        self._record.before_rewind()
        step = self._restore()
        self._record.rewound(step)
        return step

    def _how_to_continue(self, signal_name: str) -> str:
        saved = (
            f"stopped by {signal_name} after step {int(self._state.step.numpy())}, "
            "saved; continue with"
        )
        run_dir = self._config.run_dir
        if is_remote(run_dir):
            return f"{saved} the same command, on this machine or another"
        flagfile = shlex.quote(str(Path(run_dir) / "flags.cfg"))
        return f"{saved}\n  python -m tfssl.main --flagfile={flagfile}"
