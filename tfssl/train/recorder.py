"""What a training writes and shows: log, checkpoints, displays, profile."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from tfssl.errors import CheckpointError, message
from tfssl.runs import RunDirectory, checkpoint
from tfssl.train.loop import Row
from tfssl.train.state import RunState


@dataclasses.dataclass(frozen=True)
class Settings:
    """When something is written; the same for every training and on every worker.

    Attributes:
      save_every: Steps between two checkpoints, >= 1.
      steps_per_loop: Most steps between two returns to Python.
      log_every: Steps between two rows of the log.
      keep_checkpoints: Number of newest checkpoints that stay.
      keep_every: Every so many-th checkpoint stays for ever; 0: none.
      async_checkpoint: Whether a thread writes the checkpoints.
      rewind_on_nan: Rewinds that a run may make.
      profile_steps: Steps whose parts are timed before training; 0: none.
      trainings: Of the command, this one and those to come: the disk has to hold all.
    """

    save_every: int
    steps_per_loop: int = 10
    log_every: int = 10
    keep_checkpoints: int = 2
    keep_every: int = 0
    async_checkpoint: bool = True
    rewind_on_nan: int = 0
    profile_steps: int = 0
    trainings: int = 1


class Display(Protocol):
    """Shows a training that goes on: a progress bar, TensorBoard."""

    def row(self, row: Row) -> None:
        """Takes a finished row of the log."""

    def progress(self, row: Row) -> None:
        """Takes the newest numbers, between the rows."""


OpenDisplay = Callable[[int, int], AbstractContextManager[Display]]
"""Opens a display, from the first step and the number of steps at the end."""


class Recorder:
    """Records a training in its run directory: of several workers the chief does.

    As a context it is open while the training goes on.

    Args:
      directory: The run directory, taken by this process.
      settings: When to write.
      name: Of the training in `results.json`.
      texts: File name to content, written before the first step: `flags.cfg` and
        what else describes the run.
      displays: What shows the training.
      say: Shows a line to the user.
      lines: What to say before the first step.
    """

    chief = True

    def __init__(
        self,
        directory: RunDirectory,
        settings: Settings,
        *,
        name: str,
        texts: Mapping[str, str],
        displays: Sequence[OpenDisplay] = (),
        say: Callable[[str], None] = lambda text: None,
        lines: Sequence[str] = (),
    ):
        self.settings = settings
        self.say = say
        self._directory = directory
        self._name = name
        self._texts = texts
        self._displays = displays
        self._lines = lines
        self._store = directory.checkpoint_store(
            keep=settings.keep_checkpoints,
            keep_steps=settings.keep_every * settings.save_every,
            background=settings.async_checkpoint,
        )
        self._range = (0, 0)
        self._shown: list[Display] = []

    def restore(self, state: RunState) -> int | None:
        """Assigns the newest whole checkpoint; returns its step, None without one."""
        return self._store.restore_newest(state.items())

    def begin(self, start: int, total: int) -> None:
        """Writes the flags, and cuts the log to the step `start`."""
        self._range = (start, total)
        for name, text in self._texts.items():
            self._directory.write_atomic(self._directory.path / name, text)
        self._directory.cut_log(start)
        for line in self._lines:
            self.say(line)
        where = f"from step {start} " if start else ""
        self.say(f"{where}to step {total}, run directory {self._directory.path}")

    def require_room(self, state: RunState, total: int) -> None:
        """Compares the checkpoints to come with the free disk.

        Later trainings of a command keep no more than this one: they have no second
        network.

        Args:
          state: What a checkpoint holds.
          total: Steps at the end.

        Raises:
          CheckpointError: Not even one checkpoint has room.
        """
        how = self.settings
        # One more than stays, since a new one is whole before an old one goes.
        kept = min(how.keep_checkpoints, -(-total // how.save_every)) + 1
        kept += total // (how.keep_every * how.save_every) if how.keep_every else 0
        self._store.require_room(state.items(), kept * how.trainings)

    def __enter__(self) -> Recorder:
        # If one fails to open, what was opened before it is closed again.
        with contextlib.ExitStack() as opened:
            opened.enter_context(self._store)
            self._shown = [
                opened.enter_context(display(*self._range))
                for display in self._displays
            ]
            self._open = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def profile(self, steps: int, milliseconds: Mapping[str, float]) -> None:
        """Writes `profile.json`."""
        found = {"steps": steps, "milliseconds": dict(milliseconds)}
        self._directory.write_atomic(
            self._directory.profile, json.dumps(found, indent=1)
        )

    def row(self, row: Row) -> None:
        """Writes a row of the log."""
        self._directory.append_log(row)
        for display in self._shown:
            display.row(row)

    def progress(self, row: Row) -> None:
        """Shows the newest numbers."""
        for display in self._shown:
            display.progress(row)

    def save(self, step: int, state: RunState) -> None:
        """Writes a checkpoint. A full disk costs this one, not the run.

        Raises:
          DivergenceError: A tensor of the state is not finite.
        """
        self._store.save(step, state.items())

    def prepare_rewind(self) -> None:
        """Waits for the checkpoint that is being written.

        Raises:
          CheckpointError: There is none to go back to.
        """
        self._store.wait("rewinding to the one before")
        if not self._store.steps():
            raise CheckpointError(
                message(
                    f"nothing to rewind to in {self._store.folder}",
                    "a checkpoint from before the NaN",
                    "a smaller learning_rate in another run_dir",
                )
            )

    def rewound(self, step: int) -> None:
        """Drops the log's rows of the lost steps."""
        self._directory.cut_log(step)

    def finish(self, state: RunState, skipped: Sequence[Mapping[str, Any]]) -> None:
        """Waits for the last checkpoint and writes `results.json`.

        Args:
          state: After the last step.
          skipped: The unreadable files of the data set.
        """
        step = int(state.step.numpy())
        self._store.finish(step, state.items())
        self._directory.add_results(
            {self._name: {"steps": step}, "skipped_files": list(skipped)}
        )
        if skipped:
            self.say(
                f"skipped {len(skipped)} unreadable files; "
                f"{self._directory.results} names them"
            )


class NullRecorder:
    """Records nothing: the part of a recorder on the workers that are not chief.

    Args:
      settings: The chief's: they say how many steps a call makes.
    """

    chief = False

    def __init__(self, settings: Settings):
        self.settings = settings

    def __enter__(self) -> NullRecorder:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def save(self, step: int, state: RunState) -> None:
        """Checks what the chief writes, so that all stop, or all rewind, at one step.

        Raises:
          DivergenceError: A tensor of the state is not finite.
        """
        items = state.items().items()
        checkpoint.refuse_non_finite({n: item.numpy() for n, item in items}, step)

    def _nothing(self, *_: object) -> None:
        """Leaves it to the chief."""

    restore = begin = require_room = profile = row = progress = _nothing
    prepare_rewind = rewound = finish = say = _nothing
