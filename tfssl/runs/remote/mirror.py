"""A run directory on another file system (`gs://…`), worked on in a copy on this disk.

What trains and evaluates knows the copy only. The remote directory is pulled into it
before, and pushed from it afterwards and in between. Names with a leading dot (locks,
halves) stay where they are.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator

import tensorflow as tf

from tfssl.config.inherit import FLAGS_FILE
from tfssl.config.remote import working_copy
from tfssl.errors import RunDirectoryError, message
from tfssl.runs.remote.files import listing, local_listing, read_text
from tfssl.runs.remote.lock import BEAT_SECONDS, NAME, RemoteLock
from tfssl.runs.remote.sync import TwoSides

_LOGGER = logging.getLogger(__name__)
_FAILURES = (OSError, tf.errors.OpError)


class Mirror:
    """One remote run directory and its working copy; see `open`.

    Args:
      url: `--run_dir`.
    """

    def __init__(self, url: str):
        self._url = url.rstrip("/")
        self._local = working_copy(url)
        self._lock = RemoteLock(self._url)
        self._sides = TwoSides(self._url, self._local, self._lock.refresh)
        self._busy = threading.Lock()
        self._wake = threading.Event()
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Takes the remote directory for this process and pulls it.

        From then on a thread shows that the owner lives, and pushes when `push_soon`
        asks for it. The working copy must be this process's already.

        Raises:
          RunDirectoryError: Another process has it, or it cannot be read or written.
        """
        with self._named("opening"):
            self._lock.acquire()
        try:
            self.pull()
        except BaseException:
            with contextlib.suppress(*_FAILURES):
                self._lock.release()
            raise
        self._end.clear()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Pushes what is left and gives the remote directory back.

        Raises:
          RunDirectoryError: Something could not be pushed; it stays here.
        """
        if self._thread is not None:
            self._end.set()
            self._wake.set()
            self._thread.join()
            self._thread = None
        try:
            self.push()
        finally:
            with contextlib.suppress(*_FAILURES):  # it is taken over when it is old
                self._lock.release()

    def push_soon(self) -> None:
        """Lets the thread push; returns at once."""
        self._wake.set()

    def pull(self) -> None:
        """Makes the working copy what the remote directory is.

        What changed here and not there stays. Where a checkpoint here is newer than
        all there, everything here stays, with a warning.

        Raises:
          RunDirectoryError: The remote directory cannot be read.
        """
        with self._busy, self._named("reading"):
            self._sides.load()
            there = listing(self._url)
            there.pop(NAME, None)
            if newer := self._sides.newer_here(there):
                _LOGGER.warning(
                    "%s holds %s, which never arrived in %s: going on with what is "
                    "here; remove that folder to go on with what is there",
                    self._local, newer.folder, self._url,
                )  # fmt: skip
                return
            try:
                self._sides.pull(there)
            finally:
                self._sides.save()

    def push(self) -> None:
        """Makes the remote directory what the working copy is.

        A checkpoint is complete there when its manifest is, which comes last; one that
        is gone here is removed there after that.

        Raises:
          RunDirectoryError: Something could not be read or written, or another
            process took the remote directory over.
        """
        with self._busy, self._named("writing"):
            self._lock.refresh()
            try:
                here, there = local_listing(self._local), listing(self._url)
                for files in (here, there):
                    files.pop(NAME, None)
                self._sides.push(here, there)
            finally:
                self._sides.save()

    def flags(self) -> str | None:
        """The remote `flags.cfg`; None where there is none.

        Raises:
          RunDirectoryError: The remote directory cannot be read.
        """
        with self._named("reading"):
            return read_text(f"{self._url}/{FLAGS_FILE}")

    # --- the thread -------------------------------------------------------------

    def _serve(self) -> None:
        while not self._end.is_set():
            asked = self._wake.wait(BEAT_SECONDS)
            if self._end.is_set():
                return
            self._wake.clear()
            try:
                if asked:
                    self.push()
                else:
                    with self._named("keeping the lock of"):
                        self._lock.refresh()
            except RunDirectoryError as error:
                _LOGGER.warning(
                    "%s; the run goes on, the next checkpoint tries again", error
                )

    @contextlib.contextmanager
    def _named(self, doing: str) -> Iterator[None]:
        try:
            yield
        except _FAILURES as error:
            reason = str(getattr(error, "message", "") or error).strip()
            raise RunDirectoryError(
                message(
                    f"{reason or type(error).__name__} while {doing} {self._url}",
                    "a place that this machine may read and write, and space in "
                    f"{self._local}",
                    "the same command again when it is: what is here stays; or a local "
                    "--run_dir",
                )
            ) from error
