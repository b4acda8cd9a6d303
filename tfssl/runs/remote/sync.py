"""Two sides of a run directory made equal: a remote one and its working copy."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

from tfssl.config.inherit import FLAGS_FILE
from tfssl.runs import checkpoint
from tfssl.runs.remote.files import (
    Checkpoint,
    Files,
    Signature,
    checkpoint_of,
    checkpoints,
    complete,
    copy,
    local_listing,
    read_text,
    signature,
)

_STATE = ".mirror.json"
_LOGGER = logging.getLogger(__name__)


class TwoSides:
    """A remote directory, its working copy, and what both were when last equal.

    The last is kept in `.mirror.json` of the working copy: so what did not change is
    not copied again, and what one side removed is told from what the other added.

    Args:
      url: The remote directory.
      local: The working copy.
      before_file: Called before each file that is pushed.
    """

    def __init__(self, url: str, local: Path, before_file: Callable[[], None]):
        self._url = url
        self._local = local
        self._before_file = before_file
        self._equal: dict[str, tuple[Signature, Signature]] = {}

    def newer_here(self, there: Files) -> Checkpoint | None:
        """The newest checkpoint here, if it is newer than all of its series there."""
        newest = {found.series: found.step for found in complete(there)}
        ours = complete(local_listing(self._local))
        newer = [found for found in ours if found.step > newest.get(found.series, -1)]
        return max(newer, key=lambda found: found.step, default=None)

    def pull(self, there: Files) -> None:
        """Makes the working copy what is there, but for what changed here alone.

        Args:
          there: `listing` of the remote directory.

        Raises:
          OSError: Or `tf.errors.OpError`: something cannot be read or written.
        """
        for found in complete(there):
            self._pull_checkpoint(found, there)
        for name in there:
            if checkpoint_of(name) is None:
                self._pull_file(name, there[name])
        self._drop_here(there)

    def _pull_checkpoint(self, found: Checkpoint, there: Files) -> None:
        files = [Path(name).name for name in found.files(there)]
        here = self._local / found.folder
        if not self._have(found, files):
            beside = here.with_name(f".writing-pulled-{here.name}")
            shutil.rmtree(beside, ignore_errors=True)
            for name in files:
                copy(f"{self._url}/{found.folder}/{name}", str(beside / name))
            if problem := checkpoint.damage(beside):
                shutil.rmtree(beside)
                _LOGGER.warning(
                    "checkpoint %s/%s is damaged (%s); not used",
                    self._url, found.folder, problem,
                )  # fmt: skip
                return
            shutil.rmtree(here, ignore_errors=True)
            os.replace(beside, here)
        for name in files:
            path = f"{found.folder}/{name}"
            self._remember(path, signature(here / name), there[path])

    def _have(self, found: Checkpoint, files: list[str]) -> bool:
        """Whether it is here: a manifest holds the checksums of all the rest."""
        here = self._local / found.folder
        if not all((here / name).exists() for name in files):
            return False
        manifest = read_text(f"{self._url}/{found.manifest}")
        return (here / checkpoint.MANIFEST).read_text() == manifest

    def _pull_file(self, name: str, there: Signature) -> None:
        file = self._local / name
        here, known = signature(file), self._equal.get(name)
        if here and known and known[1] == there:
            return  # what changed, if anything, changed here
        if here and known and known[0] != here:
            _LOGGER.warning(
                "%s changed here and in %s; taking the one there", file, self._url
            )
        beside = file.with_name(f".{file.name}.pulled")
        copy(f"{self._url}/{name}", str(beside))
        os.replace(beside, file)
        self._remember(name, signature(file), there)

    def _drop_here(self, there: Files) -> None:
        """What was on both sides, and is there no more."""
        kept = complete(there)
        for name in [name for name in self._equal if name not in there]:
            self._equal.pop(name)
            (self._local / name).unlink(missing_ok=True)
            found = checkpoint_of(name)
            if found and found not in kept:
                shutil.rmtree(self._local / found.folder, ignore_errors=True)

    def push(self, here: Files, there: Files) -> None:
        """Makes the remote directory what is here.

        Args:
          here: `local_listing` of the working copy.
          there: `listing` of the remote directory.

        Raises:
          OSError: Or `tf.errors.OpError`: something cannot be read or written.
        """
        ours = complete(here)
        for name in here:
            if checkpoint_of(name) is None and name != FLAGS_FILE:
                self._send(name, here, there)
        sent = {found for found in ours if self._push_checkpoint(found, here, there)}
        if FLAGS_FILE in here:  # They make a run of a directory, so it is one by now.
            self._send(FLAGS_FILE, here, there)
        for series, step in {found.series: found.step for found in ours}.items():
            if Checkpoint(series, step) in sent:
                self._drop_checkpoints(series, ours, there)
        for name in [name for name in self._equal if name not in here]:
            self._equal.pop(name)
            if name in there and checkpoint_of(name) is None:
                tf.io.gfile.remove(f"{self._url}/{name}")

    def _push_checkpoint(self, found: Checkpoint, here: Files, there: Files) -> bool:
        """Whether the checkpoint is complete there now."""
        files = found.files(here)
        if all(self._same(name, here, there) for name in files):
            return True
        if there.pop(found.manifest, None):
            # It vouches for other data than what is there from now on.
            tf.io.gfile.remove(f"{self._url}/{found.manifest}")
        return all(self._send(name, here, there) for name in files)

    def _drop_checkpoints(
        self, series: str, ours: list[Checkpoint], there: Files
    ) -> None:
        for found in checkpoints(there) - set(ours):
            if found.series != series:
                continue
            if found.manifest in there:  # it came last, so it goes first
                tf.io.gfile.remove(f"{self._url}/{found.manifest}")
            tf.io.gfile.rmtree(f"{self._url}/{found.folder}")

    def _send(self, name: str, here: Files, there: Files) -> bool:
        """Copies a file if it changed; False where it is gone from here meanwhile."""
        if self._same(name, here, there):
            return True
        self._before_file()
        file, target = self._local / name, f"{self._url}/{name}"
        # A checkpoint's manifest says that it is whole; other files must be at once.
        part = checkpoint_of(name) is not None
        folder, _, last = target.rpartition("/")
        beside = target if part else f"{folder}/.{last}.pushed"
        if part and name in there:  # ram:// would append to it
            tf.io.gfile.remove(target)
        try:
            copy(str(file), beside)
        except (FileNotFoundError, tf.errors.NotFoundError):
            if file.exists():
                raise
            return False
        if not part:
            tf.io.gfile.rename(beside, target, overwrite=True)
        status = tf.io.gfile.stat(target)
        self._remember(name, here[name], (status.length, status.mtime_nsec))
        self.save()  # A process killed now has pushed it all the same.
        return True

    def _same(self, name: str, here: Files, there: Files) -> bool:
        return name in there and self._equal.get(name) == (here[name], there[name])

    def _remember(self, name: str, here: Signature | None, there: Signature) -> None:
        if here is not None:
            self._equal[name] = (here, there)

    def load(self) -> None:
        """Reads what both sides were when last equal."""
        self._equal = {}  # Then what is on both sides is copied once more.
        try:
            stored = json.loads((self._local / _STATE).read_text())
            self._equal = {n: (tuple(a), tuple(b)) for n, (a, b) in stored.items()}
        except FileNotFoundError:
            pass
        except (ValueError, TypeError, AttributeError) as error:
            _LOGGER.warning("%s/%s is damaged: %s", self._local, _STATE, error)

    def save(self) -> None:
        """Writes what both sides were when last equal."""
        file = self._local / _STATE
        beside = file.with_name(f"{_STATE}.{os.getpid()}")
        beside.write_text(json.dumps(self._equal))
        os.replace(beside, file)
