"""The checkpoints of a run: which stay, which is whole, and who waits for the disk."""

from __future__ import annotations

import concurrent.futures
import logging
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfssl.errors import CheckpointError, message
from tfssl.runs import checkpoint

_FOLDER = re.compile(rf"{checkpoint.NAME}$")
_LOGGER = logging.getLogger(__name__)


class CheckpointStore:
    """Writes, finds and reads the checkpoints of one run.

    `folder/step-000001000/` holds `tensors.index` and `tensors.data-*` (TensorFlow's
    bundle format, tensor names as in `RunState.items`) and `manifest.json` (names,
    shapes, sizes and SHA-256 of the files). A checkpoint is written beside, forced to
    the disk and renamed, so it is complete or not there.

    Args:
      folder: `run_dir/checkpoints`.
      keep: Number of newest checkpoints to keep, >= 1.
      keep_steps: Checkpoints of the multiples of so many steps stay for ever; 0: none.
      background: Whether `save` returns as soon as it has copied the values. The disk
        is then a thread's work, of one checkpoint at a time, and the errors come
        with the next `save` or `wait`.
      on_written: Called after each checkpoint that is on the disk, by the thread that
        wrote it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        keep: int = 3,
        keep_steps: int = 0,
        background: bool = False,
        on_written: Callable[[], None] = lambda: None,
    ):
        self.folder = Path(folder)
        self._keep = keep
        self._keep_steps = keep_steps
        self._on_written = on_written
        self._thread = concurrent.futures.ThreadPoolExecutor(1) if background else None
        self._writing: concurrent.futures.Future | None = None

    def steps(self) -> list[int]:
        """Steps that have a checkpoint, ascending."""
        if not self.folder.is_dir():
            return []
        found = (_FOLDER.match(entry.name) for entry in self.folder.iterdir())
        return sorted(int(match[1]) for match in found if match)

    def path(self, step: int) -> Path:
        """Folder of one step's checkpoint."""
        return self.folder / checkpoint.name_of(step)

    def save(self, step: int, items: dict[str, tf.Variable]) -> None:
        """Writes one checkpoint and removes the oldest beyond `keep`.

        With `background` it first waits for the checkpoint before, so that the disk
        never holds two halves and memory never two copies.

        Args:
          step: Number of updates made.
          items: Name to variable.

        Raises:
          DivergenceError: A tensor holds NaN or infinity; nothing is written.
          CheckpointError: The disk is full or not writable; older ones survive. With
            `background`, this is said of the checkpoint before, and this one is on
            its way.
        """
        self.save_tensors(step, {n: item.numpy() for n, item in items.items()})

    def save_tensors(self, step: int, tensors: checkpoint.Tensors) -> None:
        """`save` for what is in no variable: imported weights.

        Writing copies a NumPy array once more, and a TensorFlow tensor not.
        """
        checkpoint.refuse_non_finite(tensors, step)
        if self._thread is None:
            self._write(step, tensors)
            return
        try:
            self.wait()
        finally:
            self._writing = self._thread.submit(self._write, step, tensors)

    def wait(self) -> None:
        """Returns when nothing is being written any more.

        Raises:
          CheckpointError: The last checkpoint could not be written.
        """
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def finish(self, step: int, items: dict[str, tf.Variable]) -> None:
        """Returns when the checkpoint of the last step is on the disk.

        Args:
          step: Number of updates made.
          items: Name to variable.

        Raises:
          CheckpointError: It is not there and cannot be written now either.
          DivergenceError: See `save`.
        """
        try:
            self.wait()
        except CheckpointError as error:
            _LOGGER.warning("%s; trying once more", error)
        if step not in self.steps():
            self.save(step, items)
            self.wait()

    def settle(self) -> None:
        """`wait`, where nobody can do anything about the error: it is a warning."""
        try:
            self.wait()
        except CheckpointError as error:
            _LOGGER.warning("%s", error)

    def __enter__(self) -> CheckpointStore:
        return self

    def __exit__(self, *_: object) -> None:
        """Lets the thread finish."""
        self.settle()
        if self._thread is not None:
            self._thread.shutdown()

    def _write(self, step: int, tensors: checkpoint.Tensors) -> None:
        beside = self.folder / f".writing-{step:09d}-{os.getpid()}"
        try:
            self._remove_abandoned()
            checkpoint.write(beside, step, tensors)
            self._put_in_place(beside, self.path(step))
        except (OSError, tf.errors.OpError) as error:
            shutil.rmtree(beside, ignore_errors=True)
            raise self._cannot_write(error, step, tensors) from error
        self._remove_old(step)
        self._on_written()

    def restore_newest(self, items: dict[str, tf.Variable]) -> int | None:
        """Assigns the newest undamaged checkpoint to the variables.

        Args:
          items: Name to variable, the names and shapes of the checkpoint.

        Returns:
          The step restored, or None where there is no checkpoint at all.

        Raises:
          CheckpointError: All are damaged, or names or shapes differ.
        """
        damaged: list[str] = []
        for step in reversed(self.steps()):
            path = self.path(step)
            problem = checkpoint.damage(path)
            if problem is None:
                for text in damaged:
                    _LOGGER.warning("%s; using %s, the one before", text, path)
                checkpoint.assign(path, items)
                return step
            damaged.append(f"checkpoint {path} is damaged ({problem})")
        if damaged:
            raise CheckpointError(
                message(
                    f"{len(damaged)} damaged checkpoints in {self.folder}: "
                    + "; ".join(damaged),
                    "one that is whole",
                    "a backup, or an empty --run_dir to start again",
                )
            )
        return None

    def _put_in_place(self, beside: Path, target: Path) -> None:
        """Renames; what had the name before is gone only when the new one is there."""
        old = self.folder / f".writing-old-{target.name}"
        if target.exists():
            os.replace(target, old)
        os.replace(beside, target)
        checkpoint.sync(self.folder)
        shutil.rmtree(old, ignore_errors=True)

    def _remove_old(self, newest: int) -> None:
        """Keeps the last ones up to `newest`.

        Later steps were damaged, or left behind by a rewind: a run that stands at
        `newest` did not start from them.
        """
        steps = self.steps()
        past = [step for step in steps if step <= newest]
        kept = set(past[-self._keep :])
        if self._keep_steps:
            kept |= {step for step in past if step % self._keep_steps == 0}
        for step in set(steps) - kept:
            shutil.rmtree(self.path(step), ignore_errors=True)

    def _remove_abandoned(self) -> None:
        if self.folder.is_dir():
            for left in self.folder.glob(".writing-*"):
                shutil.rmtree(left, ignore_errors=True)

    def _cannot_write(
        self, error: Exception, step: int, tensors: checkpoint.Tensors
    ) -> CheckpointError:
        need = sum(np.asarray(t).nbytes for t in tensors.values()) / 1e6
        where = next(p for p in [self.folder, *self.folder.parents] if p.exists())
        free = shutil.disk_usage(where).free / 1e6
        missing = f"{need - free:.1f} MB are missing" if need > free else "enough"
        return CheckpointError(
            message(
                f"{error} while writing the checkpoint of step {step} to {self.folder}",
                f"about {need:.1f} MB of writable disk; {free:.1f} MB are free, "
                + missing,
                "freeing space or another --run_dir; older checkpoints are untouched",
            )
        )
