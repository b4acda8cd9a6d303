"""The run directory: lock, flags, log and results on disk (DESIGN section 6)."""

from __future__ import annotations

import contextlib
import json
import logging
import os
from pathlib import Path
from typing import Any

from tfssl.errors import RunDirectoryError, message
from tfssl.train.lock import DirectoryLock

_LOGGER = logging.getLogger(__name__)


class RunDirectory:
    """One run's folder; as a context, the right of this process to write it.

    Args:
      path: `--run_dir`.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.flags = self.path / "flags.cfg"
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
        self._pending: list[str] = []

    def __enter__(self) -> RunDirectory:
        """Makes the directory if it is missing, and takes it for this process.

        Raises:
          RunDirectoryError: Another process holds it, or it cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except OSError as error:
            raise RunDirectoryError(
                message(
                    f"{error}", "a writable --run_dir", "another --run_dir or rights"
                )
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        """Gives the directory back."""
        self._lock.release()

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
