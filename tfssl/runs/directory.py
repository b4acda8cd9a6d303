"""The run directory: lock, flags, log and results, on this disk or in a bucket."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tfssl.config.inherit import FLAGS_FILE
from tfssl.config.remote import as_path
from tfssl.core.paths import AnyPath, write_whole
from tfssl.errors import RunDirectoryError, message
from tfssl.runs.lock import RunLock, alone
from tfssl.runs.store import CheckpointStore

_LOGGER = logging.getLogger(__name__)


class RunDirectory:
    """One run's folder; as a context, the right of this process to write it.

    Args:
      path: `--run_dir`, also a URL (`gs://…`): its files are read and written there.
    """

    def __init__(self, path: str | AnyPath):
        self.path = as_path(path)
        self.flags = self.path / FLAGS_FILE
        self.log = self.path / "log.jsonl"
        self.results = self.path / "results.json"
        self.profile = self.path / "profile.json"
        self.checkpoints = self.path / "checkpoints"
        self.tensorboard = self.path / "tensorboard"
        self.report = self.path / "report"
        self.saved_model = self.path / "saved_model"
        self.finetune = self.path / "finetune"
        self.provenance = self.path / "provenance.json"
        self.licence = self.path / "LICENSE-weights.txt"
        self._lock = RunLock(self.path, self._write_log)
        self._changing = False
        self._rows: list[str] = []  # of the log, not written yet
        self._log_lock = threading.Lock()
        self._log_text: str | None = None  # of a remote log; None: not read yet

    def __enter__(self) -> RunDirectory:
        """Makes the directory if it is missing, and takes it for this process.

        Raises:
          RunDirectoryError: Another process holds it, or it cannot be written.
        """
        with self._writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        return self

    def __exit__(self, _: object, error: BaseException | None, *__: object) -> None:
        """Writes what is left of the log and gives the directory back.

        Raises:
          RunDirectoryError: That failed. Where an error ends the context already, it
            was a warning.
        """
        try:
            self._write_log()
            if self._rows and error is None:
                raise RunDirectoryError(
                    message(
                        f"{len(self._rows)} rows of {self.log} that cannot be written",
                        "a writable place with space",
                        "the same command again when it is",
                    )
                )
        finally:
            self._lock.release()

    def checkpoint_store(
        self, *, keep: int = 3, keep_steps: int = 0, background: bool = False
    ) -> CheckpointStore:
        """Returns the run's checkpoints; see `CheckpointStore` for the arguments."""
        return CheckpointStore(
            self.checkpoints,
            keep=keep,
            keep_steps=keep_steps,
            background=background,
            before_write=self._before_checkpoint,
        )

    def _before_checkpoint(self) -> None:
        # A run that goes on from the checkpoint needs the rows before it.
        self._lock.check()
        self._write_log()

    def write_atomic(self, file: AnyPath, content: str | bytes) -> None:
        """Replaces a small file whole: a reader sees the old content or the new.

        Raises:
          RunDirectoryError: The disk is full or not writable; the old file stays.
        """
        with self._writing(file):
            write_whole(file, content)

    @contextlib.contextmanager
    def _writing(self, file: AnyPath) -> Iterator[None]:
        try:
            yield
        except RunDirectoryError:
            raise
        except OSError as error:
            raise RunDirectoryError(
                message(
                    f"{error} while writing {file}",
                    "a writable run_dir with space",
                    "freeing space, rights, or another run_dir",
                )
            ) from error

    def append_log(self, row: dict[str, Any]) -> None:
        """Adds one JSON object to `log.jsonl`.

        Where the disk is full, the row waits in memory for the next call, and the run
        goes on. A remote log, to which nothing can be appended, is written before each
        checkpoint, every `lock.BEAT_SECONDS` and at the end.
        """
        self._rows.append(json.dumps(row) + "\n")
        if isinstance(self.log, Path):
            self._write_log()

    def _write_log(self) -> None:
        with self._log_lock:
            rows = self._rows.copy()  # more may come while these are written
            if not rows:
                return
            try:
                if isinstance(self.log, Path):
                    self._append("".join(rows))
                else:
                    self._write_remote("".join(rows))
            except OSError as error:
                _LOGGER.warning(
                    "%s: %d rows of the log wait",
                    getattr(error, "reason", error), len(rows),
                )  # fmt: skip
                return
            del self._rows[: len(rows)]

    def _append(self, text: str) -> None:
        size = self.log.stat().st_size if self.log.exists() else 0
        try:
            with self.log.open("a", encoding="utf-8") as out:
                out.write(text)
        except OSError:
            if self.log.exists():
                os.truncate(str(self.log), size)
            raise

    def _write_remote(self, text: str) -> None:
        if self._log_text is None:
            self._log_text = self.log.read_text("utf-8") if self.log.exists() else ""
        write_whole(self.log, self._log_text + text)
        self._log_text += text

    def cut_log(self, step: int) -> None:
        """Drops rows after `step` and a half-written last line, before resuming."""
        self._write_log()
        if not self.log.exists():
            return
        rows = []
        for line in self.log.read_text("utf-8").splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if row.get("step", 0) <= step:
                rows.append(json.dumps(row) + "\n")
        self.write_atomic(self.log, "".join(rows))
        self._log_text = None

    def read_json(self, file: AnyPath) -> dict[str, Any]:
        """The content of one of its files, empty if there is none yet.

        A damaged one (edited by hand, cut by a full disk) costs what stood in it, not
        the run: it is kept as `NAME.damaged`, with a warning, and read as empty.
        """
        if not file.exists():
            return {}
        content = file.read_bytes()
        try:
            found = json.loads(content.decode())
            if not isinstance(found, dict):
                raise ValueError(f"a {type(found).__name__}, not an object")
        except ValueError as error:
            kept = file.with_name(f"{file.name}.damaged")
            with contextlib.suppress(OSError):
                if not (kept.exists() and kept.read_bytes() == content):
                    write_whole(kept, content)
                    _LOGGER.warning(
                        "%s is damaged (%s): kept as %s, and read as empty",
                        file, error, kept.name,
                    )  # fmt: skip
            return {}
        return found

    def read_results(self) -> dict[str, Any]:
        """The content of `results.json`, empty if there is none yet."""
        return self.read_json(self.results)

    def read_profile(self) -> dict[str, Any] | None:
        """The content of `profile.json`, None where the run was not profiled."""
        return self.read_json(self.profile) or None

    def add_reading(
        self, data: dict[str, Any], skipped_files: Sequence[dict[str, str]]
    ) -> None:
        """Adds to `results.json` how data sets were read.

        Args:
          data: Name of a data set to what is known of its reading; a name that is there
            already is replaced.
          skipped_files: `path` and `reason` of unreadable files; those that are there
            already stay.
        """
        with self.changing_results():
            before = self.read_results().get("skipped_files") or []
            files = {row["path"]: row for row in [*before, *skipped_files]}
            new = {"data": data, "skipped_files": list(files.values())}
            if data or files:
                self.add_results(new)

    @contextlib.contextmanager
    def changing_results(self) -> Iterator[None]:
        """Context of reading `results.json` and writing it: of one process at a time.

        A report adds to it while another process, which has the run, adds a score.
        """
        if self._changing:
            yield
            return
        with alone(self.path):
            self._changing = True
            try:
                yield
            finally:
                self._changing = False

    def add_results(self, new: dict[str, Any]) -> None:
        """Merges into `results.json`, one level of nesting deep."""
        with self.changing_results():
            results = self.read_results()
            for key, value in new.items():
                if isinstance(value, dict) and isinstance(results.get(key), dict):
                    results[key] = results[key] | value
                else:
                    results[key] = value
            self.write_atomic(self.results, json.dumps(results, indent=2) + "\n")
