"""The lock of a run directory: one writer, freed by itself when the owner died."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import threading
import time
from pathlib import Path
from typing import TextIO

from tfssl.errors import InUseError, message

BEAT_SECONDS = 5.0
"""How often an owner shows that it lives, where the kernel does not know."""

_NO_FLOCK = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)


class DirectoryLock:
    """Exclusive right to write a directory.

    Normally the kernel's `flock` on `.lock`, which ends with the process, however it
    ends. Some network and user-space file systems have none; there a file
    `.lock-owner`, made exclusively, names host, process and start of the owner. It is
    stale, and taken over, when that process is gone from this host, or, on another
    host, when it did not change while we watched it for three beats: no clock is
    compared with another, so a jumping one does no harm.

    Args:
      folder: The directory; must exist when `acquire` is called.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._owner = folder / ".lock-owner"
        self._handle: TextIO | None = None
        self._stop: threading.Event | None = None

    def acquire(self) -> None:
        """Takes the lock; does nothing if this object has it.

        Raises:
          OSError: The directory cannot be written.
          InUseError: Another process has it; the message names it.
        """
        if self._handle is not None or self._stop is not None:
            return
        handle = open(self._folder / ".lock", "a+")  # noqa: SIM115
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            handle.seek(0)
            holder = handle.read().strip()
            handle.close()
            if error.errno not in _NO_FLOCK:
                raise self._in_use(holder) from error
            self._acquire_by_file()
            return
        _write_holder(handle)
        self._handle = handle

    def release(self) -> None:
        """Gives the lock back, if this object has it."""
        if self._handle is not None:
            self._handle.close()
            self._handle = None
        if self._stop is not None:
            self._stop.set()
            self._stop = None
            self._owner.unlink(missing_ok=True)

    def _acquire_by_file(self) -> None:
        if found := _text(self._owner):
            if self._lives(found):
                raise self._in_use(found)
            self._remove_stale(found)
        try:
            with open(self._owner, "x") as out:
                out.write(_as_text(0))
        except FileExistsError as error:
            raise self._in_use(_text(self._owner)) from error
        self._stop = threading.Event()
        threading.Thread(target=self._beat, args=[self._stop], daemon=True).start()

    def _beat(self, stop: threading.Event) -> None:
        count = 0
        while not stop.wait(BEAT_SECONDS):
            count += 1
            beside = self._owner.with_name(f".lock-owner.{os.getpid()}")
            try:
                beside.write_text(_as_text(count))
                os.replace(beside, self._owner)
            except OSError:
                continue  # A full disk is the checkpoint's to report.

    def _lives(self, found: str) -> bool:
        try:
            owner = json.loads(found)
        except ValueError:
            owner = {}
        if owner.get("host") == socket.gethostname():
            return started(int(owner["process"])) == owner["started"]
        time.sleep(3 * BEAT_SECONDS)
        return _text(self._owner) != found

    def _remove_stale(self, found: str) -> None:
        """Renames before it removes: of two that find a stale lock, one gets it."""
        aside = self._owner.with_name(f".lock-stale.{os.getpid()}")
        try:
            os.rename(self._owner, aside)
        except FileNotFoundError:
            return
        if _text(aside) != found:
            os.rename(aside, self._owner)
            raise self._in_use(_text(self._owner))
        aside.unlink(missing_ok=True)

    def _in_use(self, holder: str) -> InUseError:
        return InUseError(
            message(
                f"--run_dir={self._folder} in use by process {holder or 'unknown'}",
                "one process per run directory",
                "waiting for it, or another --run_dir",
            )
        )


def _write_holder(handle: TextIO) -> None:
    """For the message of whom we keep out; a full disk only loses this courtesy."""
    try:
        handle.truncate(0)
        handle.write(f"{os.getpid()} on {socket.gethostname()}\n")
        handle.flush()
    except OSError:
        return


def identity() -> dict[str, str | int]:
    """What names this process: its number, its host, and when it began there."""
    process = os.getpid()
    host = socket.gethostname()
    return {"process": process, "host": host, "started": started(process)}


def _as_text(beat: int) -> str:
    return json.dumps(identity() | {"beat": beat})


def started(process: int) -> str:
    """When a process of this host began, in clock ticks since boot; "" if it is gone.

    Number and start together name a process for good: numbers are used again.
    """
    text = _text(Path(f"/proc/{process}/stat"))
    # The name in parentheses may hold anything; the start is 20 fields after it.
    fields = text.rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 else ""


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
