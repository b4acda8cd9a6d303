"""The lock of a remote run directory: an object that names its owner, and beats."""

from __future__ import annotations

import json
import os
import time

import tensorflow as tf

from tfssl.errors import InUseError, message
from tfssl.runs.lock import identity, started

NAME = "LOCK"
FRESH_SECONDS = 600.0
"""An owner on another host that was silent for longer is taken to be gone."""
BEAT_SECONDS = 60.0
SETTLE_SECONDS = 1.0
"""Of two that write the object at once, the later one is seen by both after this."""


class RemoteLock:
    """Right to write a remote directory, as far as an object store can give it.

    There is no exclusive creation, so two hosts that start within the same moment are
    told apart by reading again after a pause. Times of other hosts are compared with
    ours: clocks that differ by minutes make it earlier or later to give up an owner.

    Args:
      url: The directory.
    """

    def __init__(self, url: str):
        self._url = url
        self._object = f"{url}/{NAME}"
        self._own = identity()
        self._beat = 0.0
        self.held = False

    def acquire(self) -> None:
        """Takes the lock.

        Raises:
          InUseError: Another process has it; the message names it.
          tf.errors.OpError: The object cannot be read or written.
        """
        self._refuse_other()
        self._write()
        time.sleep(SETTLE_SECONDS)
        self._refuse_other()
        self.held = True

    def refresh(self) -> None:
        """Shows that the owner lives, if it has not done so for `BEAT_SECONDS`.

        Raises:
          InUseError: Another process took the lock over.
          tf.errors.OpError: The object cannot be read or written.
        """
        if self.held and time.monotonic() - self._beat >= BEAT_SECONDS:
            self._refuse_other()
            self._write()

    def release(self) -> None:
        """Removes the object, if it is still ours.

        Raises:
          tf.errors.OpError: It cannot be read or removed.
        """
        if self.held:
            self.held = False
            if self._ours(self._read()):
                tf.io.gfile.remove(self._object)

    def _write(self) -> None:
        now = {"time": time.time()}
        tf.io.gfile.makedirs(self._url)
        # Renamed, so that nobody reads half of it.
        beside = f"{self._url}/.{NAME}.{self._own['host']}.{os.getpid()}"
        with tf.io.gfile.GFile(beside, "w") as out:
            out.write(json.dumps(self._own | now))
        tf.io.gfile.rename(beside, self._object, overwrite=True)
        self._beat = time.monotonic()

    def _read(self) -> dict:
        try:
            with tf.io.gfile.GFile(self._object, "r") as file:
                owner = json.loads(file.read())
        except tf.errors.NotFoundError:
            return {}
        except ValueError:
            owner = None
        # What is no owner of ours cannot be asked, and stays until someone removes it.
        return owner if isinstance(owner, dict) else {"host": "unknown", "time": 1e12}

    def _ours(self, owner: dict) -> bool:
        return all(owner.get(name) == value for name, value in self._own.items())

    def _refuse_other(self) -> None:
        owner = self._read()
        if not owner or self._ours(owner) or not self._lives(owner):
            return
        age = max(0.0, time.time() - float(owner.get("time", 0)))
        raise InUseError(
            message(
                f"--run_dir={self._url} in use by process {owner.get('process')} on "
                f"{owner.get('host')}, which showed itself {age:.0f} s ago",
                f"one process per run directory, or one silent for {FRESH_SECONDS:.0f} "
                "s",
                f"waiting for it, or, if it is gone, removing {self._object}",
            )
        )

    def _lives(self, owner: dict) -> bool:
        if owner.get("host") == self._own["host"]:
            # A machine made anew under its old name finds no such process.
            return bool(owner.get("started")) and (
                started(int(owner["process"])) == owner["started"]
            )
        return time.time() - float(owner.get("time", 0)) < FRESH_SECONDS
