"""The run directory: lock, flags, log and results on disk (DESIGN section 6)."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any, TextIO

from tfssl.errors import RunDirectoryError, message


class RunDirectory:
    """One run's folder. Only one process writes it at a time.

    Args:
      path: `--run_dir`; made if missing when `lock` is called.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.flags = self.path / "flags.cfg"
        self.log = self.path / "log.jsonl"
        self.results = self.path / "results.json"
        self.checkpoints = self.path / "checkpoints"
        self.tensorboard = self.path / "tensorboard"
        self.report = self.path / "report"
        self.saved_model = self.path / "saved_model"
        self.torchvision = self.path / "torchvision"
        self.keras = self.path / "keras"
        self.provenance = self.path / "provenance.json"
        self.licence = self.path / "LICENSE-weights.txt"
        self._lock: TextIO | None = None

    def lock(self) -> None:
        """Takes the directory for this process; the kernel frees it when we die.

        Raises:
          RunDirectoryError: Another process holds it, or it cannot be written.
        """
        if self._lock is not None:
            return
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            handle = open(self.path / ".lock", "a+")  # noqa: SIM115
        except OSError as error:
            raise RunDirectoryError(
                message(
                    f"{error}", "a writable --run_dir", "another --run_dir or rights"
                )
            ) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            handle.seek(0)
            owner = handle.read().strip() or "unknown"
            handle.close()
            raise RunDirectoryError(
                message(
                    f"--run_dir={self.path} in use by process {owner}",
                    "one process per run directory",
                    "waiting for it, or another --run_dir",
                )
            ) from error
        handle.truncate(0)
        handle.write(f"{os.getpid()}\n")
        handle.flush()
        self._lock = handle

    def unlock(self) -> None:
        """Gives the directory back."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def write_atomic(self, file: Path, text: str) -> None:
        """Replaces a small file whole: a reader sees the old text or the new."""
        file.parent.mkdir(parents=True, exist_ok=True)
        beside = file.with_name(f".{file.name}.{os.getpid()}")
        beside.write_text(text)
        os.replace(beside, file)

    def append_log(self, row: dict[str, Any]) -> None:
        """Adds one JSON object to `log.jsonl`."""
        with open(self.log, "a") as out:
            out.write(json.dumps(row) + "\n")

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

    def add_results(self, new: dict[str, Any]) -> None:
        """Merges into `results.json`, one level of nesting deep."""
        results = self.read_results()
        for key, value in new.items():
            if isinstance(value, dict) and isinstance(results.get(key), dict):
                results[key] = results[key] | value
            else:
                results[key] = value
        self.write_atomic(self.results, json.dumps(results, indent=2) + "\n")
