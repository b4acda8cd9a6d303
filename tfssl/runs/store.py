"""The checkpoints of a run: which stay, which is whole, and who waits for the disk."""

from __future__ import annotations

import concurrent.futures
import contextlib
import logging
import re
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfssl.config.remote import as_path
from tfssl.core.paths import (
    WRITING,
    AnyPath,
    folder_written_whole,
    remove_folder,
)
from tfssl.errors import CheckpointError, message
from tfssl.runs import checkpoint

REMOTE_PAUSES = (10.0, 60.0, 300.0, 900.0)
"""Seconds before each further try to write the last checkpoint to a bucket."""

_GOES_ON = "the run goes on, the next checkpoint tries again"
_FOLDER = re.compile(rf"{checkpoint.NAME}$")
_LOGGER = logging.getLogger(__name__)


class CheckpointStore:
    """Writes, finds and reads the checkpoints of one run.

    `folder/step-000001000/` holds `tensors.index` and `tensors.data-*` (TensorFlow's
    bundle format, tensor names as in `RunState.items`) and `manifest.json` (names,
    shapes, sizes and SHA-256 of the files). On this disk a checkpoint is written
    beside, forced to the disk and renamed, so it is complete or not there. Elsewhere
    its manifest is written last, and without one it counts for nothing.

    Args:
      folder: `run_dir/checkpoints`, also a URL.
      keep: Number of newest checkpoints to keep, >= 1.
      keep_steps: Checkpoints of the multiples of so many steps stay for ever; 0: none.
      background: Whether `save` returns as soon as it has copied the values. The disk
        is then a thread's work, of one checkpoint at a time, and the errors come
        with the next `save` or `finish`.
      before_write: Called before each checkpoint is written, by the thread that
        writes it.
    """

    def __init__(
        self,
        folder: str | AnyPath,
        *,
        keep: int = 3,
        keep_steps: int = 0,
        background: bool = False,
        before_write: Callable[[], None] = lambda: None,
    ):
        self.folder = as_path(folder)
        self._local = isinstance(self.folder, Path)
        self._keep = keep
        self._keep_steps = keep_steps
        self._before_write = before_write
        self._thread = concurrent.futures.ThreadPoolExecutor(1) if background else None
        self._writing: concurrent.futures.Future | None = None

    def steps(self) -> list[int]:
        """Returns the steps that have a checkpoint, ascending."""
        return [step for step in self._folders() if self._counts(step)]

    def _folders(self) -> list[int]:
        if not self.folder.is_dir():
            return []
        found = (_FOLDER.match(entry.name) for entry in self.folder.iterdir())
        return sorted(int(match[1]) for match in found if match)

    def _counts(self, step: int) -> bool:
        # One on this disk without a manifest is damaged, and the user must be told.
        return self._local or (self.path(step) / checkpoint.MANIFEST).exists()

    def path(self, step: int) -> AnyPath:
        """Returns the folder of one step's checkpoint."""
        return self.folder / checkpoint.name_of(step)

    def remove_all(self) -> None:
        """Removes every checkpoint: what they were for is done, or begins anew."""
        for step in self.steps():
            remove_folder(self.path(step), checkpoint.MANIFEST)

    def require_room(self, items: Mapping[str, tf.Variable], count: int) -> None:
        """Looks at the free disk before a training that would fill it.

        Args:
          items: Name to variable.
          count: Checkpoints that may be there at once.

        Raises:
          CheckpointError: Not even one has room. Where only some have, it is a warning.
        """
        if not self._local:
            return  # a bucket tells no end
        one = sum(int(np.prod(v.shape)) * v.dtype.size for v in items.values()) / 1e6
        where, free = self._disk()
        if free >= count * one:
            return
        got = f"{free:.1f} MB free in {where}"
        if free < one:
            need = f"{one:.1f} MB for a checkpoint"
            raise CheckpointError(message(got, need, "freeing space, or run_dir=DIR"))
        _LOGGER.warning(
            "%s, and up to %d checkpoints of %.1f MB each, %.1f MB together: free "
            "space, or keep fewer (keep_checkpoints, keep_every)",
            got, count, one, count * one,
        )  # fmt: skip

    def _disk(self) -> tuple[AnyPath, float]:
        """The nearest folder that is there, and the free megabytes of its disk."""
        where = next(p for p in [self.folder, *self.folder.parents] if p.exists())
        return where, shutil.disk_usage(where).free / 1e6

    def save(self, step: int, items: Mapping[str, tf.Variable]) -> None:
        """Writes one checkpoint and removes the oldest beyond `keep`.

        Where that fails (a full disk, a bucket out of reach), it is a warning: the run
        goes on, and the next checkpoint tries again. With `background` it first waits
        for the checkpoint before, so that the disk never holds two halves and memory
        never two copies.

        Args:
          step: Number of updates made.
          items: Name to variable.

        Raises:
          DivergenceError: A tensor holds NaN or infinity; nothing is written.
        """
        tensors = {name: item.numpy() for name, item in items.items()}
        checkpoint.refuse_non_finite(tensors, step)
        if self._thread is None:
            with _a_warning(_GOES_ON):
                self.write(step, tensors)
            return
        self.wait()
        self._writing = self._thread.submit(self.write, step, tensors)

    def wait(self, then: str = _GOES_ON) -> None:
        """Returns when nothing is being written any more; a failure is a warning.

        Args:
          then: What the warning says will happen now.
        """
        writing, self._writing = self._writing, None
        if writing is not None:
            with _a_warning(then):
                writing.result()

    def finish(self, step: int, items: Mapping[str, tf.Variable]) -> None:
        """Returns when the checkpoint of the last step is there.

        Args:
          step: Number of updates made.
          items: Name to variable.

        Raises:
          CheckpointError: It is not there and cannot be written now either; in a
            bucket, not after all `REMOTE_PAUSES`.
          DivergenceError: See `save`.
        """
        self.wait("trying once more")
        tensors = {name: item.numpy() for name, item in items.items()}
        for pause in () if self._local else REMOTE_PAUSES:
            with _a_warning(f"trying again in {pause:g} s"):
                self._write_if_missing(step, tensors)
                return
            time.sleep(pause)
        self._write_if_missing(step, tensors)

    def _write_if_missing(self, step: int, tensors: checkpoint.Tensors) -> None:
        with self._cannot_write(step, tensors):
            there = step in self.steps()
        if not there:
            checkpoint.refuse_non_finite(tensors, step)
            self.write(step, tensors)

    def __enter__(self) -> CheckpointStore:
        return self

    def __exit__(self, *_: object) -> None:
        """Lets the thread finish."""
        self.wait("it is the last one")
        if self._thread is not None:
            self._thread.shutdown()

    def write(self, step: int, tensors: checkpoint.Tensors) -> None:
        """Writes one checkpoint now, also of what is in no variable (imported weights).

        Args:
          step: Number of updates made.
          tensors: Name to value. A NumPy array is copied once more, a TensorFlow tensor
            is not.

        Raises:
          CheckpointError: The disk is full or not writable, or the bucket out of reach;
            older ones survive.
        """
        with self._cannot_write(step, tensors):
            self._before_write()
            self._remove_abandoned()
            with folder_written_whole(self.path(step), checkpoint.MANIFEST) as folder:
                checkpoint.write(folder, step, tensors)
        with contextlib.suppress(OSError):  # the next one removes them
            self._remove_old(step)

    def restore_newest(self, items: dict[str, tf.Variable]) -> int | None:
        """Assigns the newest undamaged checkpoint to the variables.

        Args:
          items: Name to variable, the names and shapes of the checkpoint.

        Returns:
          The step restored, or None where there is no checkpoint at all.

        Raises:
          CheckpointError: All are damaged, or names or shapes differ.
          RemoteError: A bucket cannot be read.
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
                    "a backup, or an empty run_dir to start again",
                )
            )
        return None

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
            remove_folder(self.path(step), checkpoint.MANIFEST)

    def _remove_abandoned(self) -> None:
        """Removes what processes that were killed left half written."""
        if self._local:
            for left in self.folder.glob(f"{WRITING}*"):
                shutil.rmtree(left, ignore_errors=True)
            return
        for step in self._folders():
            if not self._counts(step):
                remove_folder(self.path(step), checkpoint.MANIFEST)

    @contextlib.contextmanager
    def _cannot_write(self, step: int, tensors: checkpoint.Tensors):
        try:
            yield
        except (OSError, tf.errors.OpError) as error:
            need = sum(np.asarray(t).nbytes for t in tensors.values()) / 1e6
            raise CheckpointError(
                message(
                    f"{getattr(error, 'reason', error)} while writing the checkpoint "
                    f"of step {step} to {self.folder}",
                    f"about {need:.1f} MB of writable disk{self._free(need)}",
                    "freeing space or another run_dir; older checkpoints are untouched",
                )
            ) from error

    def _free(self, need: float) -> str:
        if not self._local:
            return (
                " there, and for a moment in this machine's folder of temporary files"
            )
        _, free = self._disk()
        missing = f"{need - free:.1f} MB are missing" if need > free else "enough"
        return f"; {free:.1f} MB are free, {missing}"


@contextlib.contextmanager
def _a_warning(then: str):
    try:
        yield
    except CheckpointError as error:
        _LOGGER.warning("%s; %s", error, then)
