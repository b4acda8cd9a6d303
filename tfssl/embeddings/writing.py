"""Writes embeddings shard after shard; a killed process goes on where it stopped.

    embeddings/
      features-00000.npy  rows-00000.csv      a shard; or one .parquet, or one .csv
      unreadable-00000.csv                    where something could not be read
      plan.json                               while it is being made
      manifest.json                           when all shards are there

Shard number `k` holds examples `k * shard_rows` and on, whatever was killed when, and
counts only when it is whole; so every example has one row, or one line that says why it
has none.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from tfssl.config.remote import read_json
from tfssl.embeddings.shard_files import FORMATS, Shard, replacing, unreadable
from tfssl.errors import DataError, RunDirectoryError, message

PLAN, MANIFEST = "plan.json", "manifest.json"


class Writer:
    """The shards of one data set under one encoder.

    Args:
      folder: Where; made if it is missing.
      plan: Everything the numbers depend on, as JSON: `format`, `dtype`, `shard_rows`,
        `num_examples`, `class_names`, and what else tells these embeddings from
        others, such as digests of the weights and of the data.
      about: More for the manifest that may differ when the work goes on, as JSON.

    Raises:
      RunDirectoryError: The folder holds embeddings by another plan.
    """

    def __init__(
        self, folder: Path, plan: dict[str, Any], about: dict[str, Any] | None = None
    ):
        self.folder = Path(folder)
        self._about = about or {}
        self.plan = json.loads(json.dumps(plan))
        self._format = FORMATS[plan["format"]]
        self._rows: int = plan["shard_rows"]
        self._total: int = plan["num_examples"]
        self.finished = False
        self._open()

    def _open(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for left in self.folder.glob(".writing-*"):
            left.unlink()
        for name in (MANIFEST, PLAN):
            file = self.folder / name
            if not file.exists():
                continue
            there = read_json(file)
            if differing := _differences(there, self.plan):
                raise RunDirectoryError(
                    message(
                        f"embeddings in {self.folder} with other " + differing,
                        "an empty folder, or the settings that it was begun with",
                        "another folder (embeddings=DIR), or removing this one",
                    )
                )
            self.finished = name == MANIFEST
            return
        with replacing(self.folder / PLAN) as out:
            out.write(json.dumps(self.plan, indent=1).encode() + b"\n")

    def shards(self) -> range:
        """Numbers of all shards, those that are there and those to come."""
        return range(-(-self._total // self._rows))

    def bounds(self, number: int) -> tuple[int, int]:
        """First example of a shard, and the first one after it."""
        return number * self._rows, min((number + 1) * self._rows, self._total)

    def missing(self) -> list[int]:
        """Numbers of the shards that are not there yet, ascending."""
        if self.finished:
            return []
        last = self._format.last
        return [n for n in self.shards() if not (self.folder / last.format(n)).exists()]

    @property
    def left(self) -> int:
        """Examples of the shards that are not there yet."""
        return sum(stop - start for start, stop in map(self.bounds, self.missing()))

    def require_room(self, width: int) -> None:
        """Looks at the free disk before hours of encoding that would fill it.

        Raises:
          RunDirectoryError: It cannot take the missing rows of so many numbers.
        """
        need = self.left * width * np.dtype(self.plan["dtype"]).itemsize / 1e6
        free = shutil.disk_usage(self.folder).free / 1e6
        if free < need:
            raise RunDirectoryError(
                message(
                    f"{free:.0f} MB free in {self.folder}",
                    f"{need:.0f} MB for {self.left:,} vectors",
                    "freeing space, embeddings=DIR on another disk, or "
                    "embed_dtype=float16",
                )
            )

    def write(self, number: int, shard: Shard) -> None:
        """Puts one shard in its place.

        Args:
          number: Of `missing`.
          shard: Rows and unreadable examples, as many together as `bounds` says.

        Raises:
          RunDirectoryError: They are not, or the disk is full or not writable.
          DataError: A number is too large for float16.
        """
        start, stop = self.bounds(number)
        if len(shard) + len(shard.unreadable) != stop - start:
            raise RunDirectoryError(
                message(
                    f"{len(shard)} rows and {len(shard.unreadable)} unreadable "
                    f"examples for shard {number}",
                    f"{stop - start} together",
                    "one row for every example",
                )
            )
        dtype = np.dtype(self.plan["dtype"])
        shard.arrays = {n: _cast(a, dtype) for n, a in shard.arrays.items()}
        names = tuple(self.plan["class_names"])
        self._format.write(self.folder, number, shard, names, self.plan)

    def read(self, number: int, names: list[str]) -> Shard:
        """A shard that is there, with its arrays of these names."""
        shard = self._format.rows(self.folder, number)
        shard.arrays = {
            name: self._format.array(self.folder, number, name) for name in names
        }
        shard.unreadable = unreadable(self.folder, number)
        return shard

    def widths(self) -> dict[str, int]:
        """Array name to its number of columns."""
        return self._format.widths(self.folder)

    def finish(self) -> dict[str, Any]:
        """Writes the manifest over the shards; nothing may be missing.

        Returns:
          The manifest: the plan, and `arrays`, `shards` (rows of each), `rows`,
          `unreadable` and `sha256`, a digest over all files of the shards.

        Raises:
          RunDirectoryError: A shard is missing.
        """
        if missing := self.missing():
            raise RunDirectoryError(
                message(
                    f"{len(missing)} missing shards in {self.folder}, the first "
                    f"number {missing[0]}",
                    "all of them",
                    "the same command again",
                )
            )
        rows = [len(self._format.rows(self.folder, n)) for n in self.shards()]
        unread = sum(len(unreadable(self.folder, n)) for n in self.shards())
        manifest = {
            **self.plan,
            **self._about,
            "arrays": self.widths(),
            "shards": rows,
            "rows": sum(rows),
            "unreadable": unread,
            "sha256": _digest(self.folder),
        }
        with replacing(self.folder / MANIFEST) as out:
            out.write(json.dumps(manifest, indent=1).encode() + b"\n")
        (self.folder / PLAN).unlink(missing_ok=True)
        self.finished = True
        return manifest


def _cast(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    with np.errstate(over="ignore"):
        cast = array.astype(dtype, copy=False)
    if np.isinf(cast).any():
        raise DataError(
            message(
                f"numbers as large as {np.abs(array).max():g} for {dtype}",
                f"at most {np.finfo(dtype).max:g}",
                "embed_dtype=float32, or embed_normalize",
            )
        )
    return cast


def _differences(there: dict[str, Any], plan: dict[str, Any]) -> str:
    """The settings in which two plans differ, as text; empty where in none.

    What an older version did not write is not known to differ.
    """
    names = [name for name in plan if there.get(name, plan[name]) != plan[name]]
    return ", ".join(
        f"{name} ({_short(there.get(name))}, not {_short(plan[name])})"
        for name in names
    )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _digest(folder: Path) -> str:
    """SHA-256 over the names and contents of the shards' files, in order of name."""
    found = hashlib.sha256()
    for file in sorted(folder.glob("*-[0-9]*.*")):
        found.update(file.name.encode() + b"\0")
        with open(file, "rb") as data:
            while block := data.read(1 << 20):
                found.update(block)
    return found.hexdigest()
