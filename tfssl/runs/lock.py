"""The lock of a run directory: one writer, until its process or its host is gone.

On this disk it is the kernel's `flock` on `.lock`. Where there is none (buckets, some
network file systems, Windows), a file `LOCK` names the owner, who changes it every
`BEAT_SECONDS`. Nobody else may write while it changes.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from tfssl.core.paths import AnyPath, write_whole
from tfssl.errors import InUseError, message

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

BEAT_SECONDS = 20.0
"""How often an owner shows that it lives, where the kernel does not know."""
WATCHED_BEATS = 3
"""An owner on another host that missed so many is taken to be gone."""
POLL_SECONDS = 2.0
TIE_SECONDS = 1.0
"""Of two that write `LOCK` at once, the later one is seen by both after this."""

_NO_FLOCK = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)
_LOGGER = logging.getLogger(__name__)


class RunLock:
    """The right of one process to write a run directory.

    Args:
      folder: The directory; must exist when `acquire` is called.
      on_beat: Called every `BEAT_SECONDS` by a thread while a file is the lock.
    """

    def __init__(self, folder: AnyPath, on_beat: Callable[[], None] = lambda: None):
        self._folder = folder
        self._on_beat = on_beat
        self._kernel: TextIO | None = None
        self._file: OwnerFile | None = None

    def acquire(self) -> None:
        """Takes the lock; does nothing if this object has it.

        Raises:
          OSError: The directory cannot be written.
          InUseError: Another process has it; the message names it.
        """
        if self._kernel or self._file:
            return
        if fcntl and isinstance(self._folder, Path) and self._take_kernels():
            return
        file = OwnerFile(self._folder, self._on_beat)
        file.acquire()
        self._file = file

    def release(self) -> None:
        """Gives the lock back, if this object has it."""
        if self._kernel:
            self._kernel.close()
        if self._file:
            self._file.release()
        self._kernel = self._file = None

    def check(self) -> None:
        """Raises `InUseError` where another process took the lock over meanwhile."""
        if self._file:
            self._file.check()

    def _take_kernels(self) -> bool:
        """Returns False where the file system has no `flock`."""
        handle: TextIO = open(str(self._folder / ".lock"), "a+")  # noqa: SIM115
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            handle.seek(0)
            owner = handle.read().strip()
            handle.close()
            if error.errno in _NO_FLOCK:
                return False
            raise _in_use(self._folder, owner) from error
        # Others name us by this text; on a full disk they cannot, that is all.
        with contextlib.suppress(OSError):
            handle.truncate(0)
            handle.write(f"{os.getpid()} on {socket.gethostname()}\n")
            handle.flush()
        self._kernel = handle
        return True


@contextlib.contextmanager
def alone(folder: AnyPath) -> Iterator[None]:
    """Waits until no other process is in such a block of the same folder.

    For changes of milliseconds that also those make who have not taken the folder: a
    report of a run that is still going. Where there is no `flock`, it keeps out nobody.
    """
    with contextlib.ExitStack() as opened:
        if fcntl and isinstance(folder, Path):
            with contextlib.suppress(OSError):
                handle = os.open(folder, os.O_RDONLY)
                opened.callback(os.close, handle)
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield


class OwnerFile:
    """A lock that is a file, on any file system; see the module.

    No clock is compared with another. There is no exclusive creation in an object
    store: of two hosts that start within `TIE_SECONDS` both may get the lock; `check`
    then stops the one whose name is not in the file.

    Args:
      folder: The directory that is locked.
      on_beat: Called after every beat.
    """

    def __init__(self, folder: AnyPath, on_beat: Callable[[], None]):
        self._folder = folder
        self._file = folder / "LOCK"
        self._on_beat = on_beat
        process = os.getpid()
        self._own = {
            "process": process,
            "host": socket.gethostname(),
            "started": started(process),
            "token": secrets.token_hex(
                4
            ),  # two locks of one process exclude each other
        }
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._show_life, daemon=True)

    def acquire(self) -> None:
        """See `RunLock.acquire`."""
        found = self._read()
        if found and not self._is_own(found) and self._lives(found):
            raise self._in_use(found)
        self._write(0)
        time.sleep(TIE_SECONDS)
        self.check()
        self._thread.start()

    def check(self) -> None:
        """See `RunLock.check`."""
        found = self._read()
        if found and not self._is_own(found):
            raise self._in_use(found)

    def release(self) -> None:
        """Removes the file, if it is still ours; where that fails, it grows old."""
        self._end.set()
        self._thread.join()
        with contextlib.suppress(OSError):
            if self._is_own(self._read()):
                self._file.unlink()

    def _show_life(self) -> None:
        beat = 0
        while not self._end.wait(BEAT_SECONDS):
            beat += 1
            try:
                self.check()
                self._write(beat)
            except InUseError:
                return  # the next `check` of who writes says so
            except OSError as error:
                _LOGGER.warning("%s; trying again in %g s", error, BEAT_SECONDS)
            self._on_beat()

    def _lives(self, found: str) -> bool:
        """Returns whether the owner lives, after watching it if need be."""
        owner = _parsed(found)
        own_start = self._own["started"]  # "" where no process can be asked for
        if own_start and owner.get("host") == self._own["host"]:
            return started(owner.get("process")) == owner.get("started")
        seconds = WATCHED_BEATS * BEAT_SECONDS
        _LOGGER.warning(
            "%s names %s as owner; waiting %g s for a sign of life",
            self._file, _named(found), seconds,
        )  # fmt: skip
        for _ in range(int(seconds / POLL_SECONDS)):
            time.sleep(POLL_SECONDS)
            if (now := self._read()) != found:
                return bool(now)
        return False

    def _read(self) -> str:
        try:
            return self._file.read_text("utf-8")
        except FileNotFoundError:
            return ""

    def _write(self, beat: int) -> None:
        write_whole(self._file, json.dumps({**self._own, "beat": beat}))

    def _is_own(self, text: str) -> bool:
        owner = _parsed(text)
        return all(owner.get(name) == value for name, value in self._own.items())

    def _in_use(self, found: str) -> InUseError:
        return _in_use(self._folder, f"{_named(found)}, says {self._file}")


def _in_use(folder: AnyPath, owner: str) -> InUseError:
    return InUseError(
        message(
            f"run_dir={folder} in use by process {owner or 'unknown'}",
            "one process per run directory",
            "waiting for it, or another run_dir",
        )
    )


def _parsed(text: str) -> dict[str, Any]:
    try:
        owner = json.loads(text)
    except ValueError:
        owner = None
    return owner if isinstance(owner, dict) else {}


def _named(text: str) -> str:
    owner = _parsed(text)
    return f"{owner.get('process', 'unknown')} on {owner.get('host', 'unknown')}"


def started(process: object) -> str:
    """Returns when a process of this host began, in clock ticks since boot.

    "" if it is gone, or where there is no `/proc`. Number and start together name a
    process for good: numbers are used again.
    """
    try:
        text = Path(f"/proc/{process}/stat").read_text("utf-8")
    except OSError:
        return ""
    # The name in parentheses may hold anything; the start is 20 fields after it.
    fields = text.rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 else ""
