"""The run directory: lock, flags, log and results on disk (DESIGN section 6)."""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tfssl.config.inherit import FLAGS_FILE
from tfssl.config.remote import is_remote, working_copy
from tfssl.errors import InUseError, RunDirectoryError, message
from tfssl.runs.lock import DirectoryLock
from tfssl.runs.remote.mirror import Mirror

_LOGGER = logging.getLogger(__name__)


class RunDirectory:
    """One run's folder; as a context, the right of this process to write it.

    Args:
      path: `--run_dir`. Of a remote one (`gs://…`) everything here is about the
        working copy, which is pulled on entering and pushed on leaving the context.
    """

    def __init__(self, path: str | Path):
        self.path = working_copy(path)
        self.flags = self.path / FLAGS_FILE
        self.log = self.path / "log.jsonl"
        self.results = self.path / "results.json"
        self.profile = self.path / "profile.json"
        self.checkpoints = self.path / "checkpoints"
        self.tensorboard = self.path / "tensorboard"
        self.report = self.path / "report"
        self.saved_model = self.path / "saved_model"
        self.torchvision = self.path / "torchvision"
        self.keras = self.path / "keras"
        self.finetune = self.path / "finetune"
        self.provenance = self.path / "provenance.json"
        self.licence = self.path / "LICENSE-weights.txt"
        self._lock = DirectoryLock(self.path)
        self._mirror = Mirror(str(path)) if is_remote(path) else None
        self._pending: list[str] = []

    def __enter__(self) -> RunDirectory:
        """Makes the directory if it is missing, and takes it for this process.

        A remote one is also pulled.

        Raises:
          RunDirectoryError: Another process holds it, or it cannot be written.
        """
        self._take()
        if self._mirror is not None:
            try:
                self._mirror.open()
            except BaseException:
                self._lock.release()
                raise
        return self

    def __exit__(self, _: object, error: BaseException | None, *__: object) -> None:
        """Gives the directory back, a remote one after a last push.

        Raises:
          RunDirectoryError: That push failed. Where an error ends the context already,
            it is a warning.
        """
        try:
            if self._mirror is not None:
                self._mirror.close()
        except RunDirectoryError as failed:
            if error is None:
                raise
            _LOGGER.warning("%s", failed)
        finally:
            self._lock.release()

    def push_soon(self) -> None:
        """Pushes a remote directory in a thread; a failure is a warning there."""
        if self._mirror is not None:
            self._mirror.push_soon()

    @contextlib.contextmanager
    def visited(self) -> Iterator[None]:
        """The directory for a reader of a run that may still be going.

        It does not take a local one. A remote one is pulled and pushed as ever, if
        nobody has it. If another process of this host does, that one keeps the working
        copy new; if one elsewhere does, what the reader writes stays on this disk.

        Raises:
          RunDirectoryError: The remote directory cannot be read or written.
        """
        if self._mirror is None:
            yield
            return
        with contextlib.ExitStack() as opened:
            try:
                opened.enter_context(self)
            except InUseError as error:
                if self.fetch():
                    _LOGGER.warning(
                        "%s; what is written now stays in %s", error, self.path
                    )
            yield

    def fetch(self) -> bool:
        """Pulls a remote directory to be read alone.

        Returns:
          False where there is no need to: another process of this host has the working
          copy, and keeps it new.

        Raises:
          RunDirectoryError: The remote directory cannot be read.
        """
        if self._mirror is None:
            return False
        try:
            self._take()
        except InUseError:
            return False
        try:
            self._mirror.pull()
        finally:
            self._lock.release()
        return True

    def fetch_flags(self) -> None:
        """Pulls `flags.cfg` of a remote directory, by which a command line is judged.

        Raises:
          RunDirectoryError: The remote directory cannot be read, or the copy written.
        """
        text = self._mirror.flags() if self._mirror is not None else None
        if text is None or (self.flags.exists() and self.flags.read_text() == text):
            return
        self.write_atomic(self.flags, text)

    def _take(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except OSError as error:
            raise RunDirectoryError(
                message(
                    f"{error}", "a writable --run_dir", "another --run_dir or rights"
                )
            ) from error

    def write_atomic(self, file: Path, text: str) -> None:
        """Replaces a small file whole: a reader sees the old text or the new.

        Raises:
          RunDirectoryError: The disk is full or not writable; the old file stays.
        """
        beside = file.with_name(f".{file.name}.{os.getpid()}")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            beside.write_text(text)
            os.replace(beside, file)
        except OSError as error:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)
            raise RunDirectoryError(
                message(
                    f"{error} while writing {file}",
                    "a writable disk with space",
                    "freeing space or another --run_dir",
                )
            ) from error

    def append_log(self, row: dict[str, Any]) -> None:
        """Adds one JSON object to `log.jsonl`.

        Where the disk is full, the row waits in memory for the next call, and the run
        goes on.
        """
        self._pending.append(json.dumps(row) + "\n")
        size = self.log.stat().st_size if self.log.exists() else 0
        try:
            with open(self.log, "a") as out:
                out.write("".join(self._pending))
        except OSError as error:
            _LOGGER.warning(
                "%s: %d rows of the log wait for space", error, len(self._pending)
            )
            if self.log.exists():
                os.truncate(self.log, size)
            return
        self._pending.clear()

    def cut_log(self, step: int) -> None:
        """Drops rows after `step` and a half-written last line, before resuming."""
        if not self.log.exists():
            return
        rows = []
        for line in self.log.read_text().splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if row.get("step", 0) <= step:
                rows.append(json.dumps(row) + "\n")
        self.write_atomic(self.log, "".join(rows))

    def read_results(self) -> dict[str, Any]:
        """The content of `results.json`, empty if there is none yet."""
        if not self.results.exists():
            return {}
        return json.loads(self.results.read_text())

    def read_profile(self) -> dict[str, Any] | None:
        """The content of `profile.json`, None where the run was not profiled."""
        return json.loads(self.profile.read_text()) if self.profile.exists() else None

    def add_results(self, new: dict[str, Any]) -> None:
        """Merges into `results.json`, one level of nesting deep."""
        results = self.read_results()
        for key, value in new.items():
            if isinstance(value, dict) and isinstance(results.get(key), dict):
                results[key] = results[key] | value
            else:
                results[key] = value
        self.write_atomic(self.results, json.dumps(results, indent=2) + "\n")
