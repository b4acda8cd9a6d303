"""Consecutive rows of embeddings as files, in each format of `--embed_format`.

A shard is there when its last file is: `npy` writes an array a file and then the table
of rows, the other formats one file. Each file is written beside, forced to the disk and
renamed, so a process that is killed leaves a whole shard or none.
"""

from __future__ import annotations

import collections
import contextlib
import csv
import dataclasses
import importlib
import io
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from tfssl.config.tables import import_extra
from tfssl.errors import DataError, RunDirectoryError, message

FEATURES = "features"
HEAD = ("id", "key", "label", "class_name")
_TEXT = {"encoding": "utf-8", "errors": "surrogateescape", "newline": ""}


@dataclasses.dataclass
class Shard:
    """Rows in the order of the data set, and what could not be read between them.

    Attributes:
      ids: int64 `[n]`, the examples' numbers for good.
      keys: `n` paths, or other names under which the examples are found again.
      labels: int64 `[n]`, -1 where there is none.
      arrays: `features` `[n, D]` and others by name, float32 or float16.
      unreadable: Key and reason of the examples that have no row.
    """

    ids: np.ndarray
    keys: list[str]
    labels: np.ndarray
    arrays: dict[str, np.ndarray]
    unreadable: list[tuple[str, str]] = dataclasses.field(default_factory=list)

    def __len__(self) -> int:
        """Rows."""
        return len(self.ids)


@dataclasses.dataclass(frozen=True)
class Format:
    """How shards look on the disk.

    Attributes:
      last: Name of the file that makes shard `{}` complete.
      write: Of (folder, number, shard, class names, plan).
      rows: Of (folder, number) to a `Shard` without arrays.
      array: Of (folder, number, name) to `[n, D]`, memory-mapped where it can be.
      widths: Of a folder with a shard 0 to array name: columns.
    """

    last: str
    write: Callable[[Path, int, Shard, tuple[str, ...], dict[str, Any]], None]
    rows: Callable[[Path, int], Shard]
    array: Callable[[Path, int, str], np.ndarray]
    widths: Callable[[Path], dict[str, int]]


@contextlib.contextmanager
def replacing(file: Path) -> Iterator[IO[bytes]]:
    """A file to write; it takes its place, forced to the disk, when all went well.

    Raises:
      RunDirectoryError: The disk is full or not writable; an older file stays.
    """
    beside = file.with_name(f".writing-{file.name}")
    try:
        with open(beside, "wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        os.replace(beside, file)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise RunDirectoryError(
            message(
                f"{error} while writing {file}",
                "a writable disk with space",
                "freeing space; the same command then goes on where it stopped",
            )
        ) from error


# --- npy ----------------------------------------------------------------------------


def _write_npy(
    folder: Path,
    number: int,
    shard: Shard,
    class_names: tuple[str, ...],
    plan: dict[str, Any],
) -> None:
    for name, array in shard.arrays.items():
        with replacing(folder / f"{name}-{number:05d}.npy") as out:
            np.save(out, array)
    _write_unreadable(folder, number, shard)
    with replacing(folder / f"rows-{number:05d}.csv") as out, _text(out) as text:
        lines = csv.writer(text)
        lines.writerow(HEAD)
        lines.writerows(_heads(shard, class_names))


def _npy_array(folder: Path, number: int, name: str) -> np.ndarray:
    return np.load(folder / f"{name}-{number:05d}.npy", mmap_mode="r")


def _npy_widths(folder: Path) -> dict[str, int]:
    files = sorted(folder.glob("*-00000.npy"))
    return {
        file.name.removesuffix("-00000.npy"): int(np.load(file, mmap_mode="r").shape[1])
        for file in files
    }


# --- csv ----------------------------------------------------------------------------


def _write_csv(
    folder: Path,
    number: int,
    shard: Shard,
    class_names: tuple[str, ...],
    plan: dict[str, Any],
) -> None:
    _write_unreadable(folder, number, shard)
    with (
        replacing(folder / f"embeddings-{number:05d}.csv") as out,
        _text(out) as text,
    ):
        lines = csv.writer(text)
        columns = [
            f"{name}_{i}"
            for name, array in shard.arrays.items()
            for i in range(array.shape[1])
        ]
        lines.writerow([*HEAD, *columns])
        # Python's shortest decimals that give the same float back.
        numbers = np.concatenate(list(shard.arrays.values()), axis=1)
        for head, row in zip(_heads(shard, class_names), numbers, strict=True):
            lines.writerow([*head, *map(str, row)])


def _csv_array(folder: Path, number: int, name: str) -> np.ndarray:
    with open(folder / f"embeddings-{number:05d}.csv", **_TEXT) as file:
        lines = csv.reader(file)
        head = next(lines)
        columns = [i for i, t in enumerate(head) if t.rpartition("_")[0] == name]
        rows = [[line[i] for i in columns] for line in lines]
    return np.array(rows, np.float32).reshape(len(rows), len(columns))


def _csv_widths(folder: Path) -> dict[str, int]:
    with open(folder / "embeddings-00000.csv", **_TEXT) as file:
        columns = next(csv.reader(file))[len(HEAD) :]
    return dict(collections.Counter(text.rpartition("_")[0] for text in columns))


_NPY, _CSV = "rows-{:05d}.csv", "embeddings-{:05d}.csv"


def _csv_rows(name: str, folder: Path, number: int) -> Shard:
    with open(folder / name.format(number), **_TEXT) as file:
        rows = [line[: len(HEAD)] for line in csv.reader(file)][1:]
    return Shard(
        np.array([int(row[0]) for row in rows], np.int64),
        [row[1] for row in rows],
        np.array([int(row[2]) if row[2] else -1 for row in rows], np.int64),
        {},
    )


# --- parquet ------------------------------------------------------------------------


def parquet() -> Any:
    """The modules `pyarrow` and `pyarrow.parquet`.

    Raises:
      DataError: pyarrow is not installed.
    """
    import_extra("pyarrow.parquet", "parquet", "embed_format=parquet", DataError)
    return importlib.import_module("pyarrow")


def _write_parquet(
    folder: Path,
    number: int,
    shard: Shard,
    class_names: tuple[str, ...],
    plan: dict[str, Any],
) -> None:
    import json

    arrow = parquet()
    _write_unreadable(folder, number, shard)
    known = list(map(_utf8, class_names))
    names = [known[i] if i >= 0 and known else None for i in shard.labels]
    columns = {
        "id": arrow.array(shard.ids, arrow.int64()),
        "key": arrow.array([_utf8(key) for key in shard.keys], arrow.string()),
        "label": arrow.array(shard.labels, arrow.int64(), mask=shard.labels < 0),
        "class_name": arrow.array(names, arrow.string()),
    }
    for name, array in shard.arrays.items():
        flat = arrow.array(np.ascontiguousarray(array).reshape(-1))
        columns[name] = arrow.FixedSizeListArray.from_arrays(flat, array.shape[1])
    table = arrow.table(columns).replace_schema_metadata({"tfssl": json.dumps(plan)})
    with replacing(folder / f"embeddings-{number:05d}.parquet") as out:
        arrow.parquet.write_table(table, out, compression="zstd")


def _read_parquet(folder: Path, number: int, columns: list[str]) -> Any:
    file = folder / f"embeddings-{number:05d}.parquet"
    return parquet().parquet.read_table(file, columns=columns)


def _parquet_rows(folder: Path, number: int) -> Shard:
    table = _read_parquet(folder, number, ["id", "key", "label"])
    return Shard(
        table["id"].to_numpy(),
        table["key"].to_pylist(),
        table["label"].fill_null(-1).to_numpy(),
        {},
    )


def _parquet_array(folder: Path, number: int, name: str) -> np.ndarray:
    column = _read_parquet(folder, number, [name])[name]
    width = column.type.list_size
    parts = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    flat = np.concatenate(parts) if parts else np.empty(0, np.float32)
    return flat.reshape(-1, width)


def _parquet_widths(folder: Path) -> dict[str, int]:
    schema = parquet().parquet.read_schema(folder / "embeddings-00000.parquet")
    return {f.name: f.type.list_size for f in schema if f.name not in HEAD}


FORMATS = {
    "npy": Format(_NPY, _write_npy, partial(_csv_rows, _NPY), _npy_array, _npy_widths),
    "parquet": Format(
        "embeddings-{:05d}.parquet",
        _write_parquet,
        _parquet_rows,
        _parquet_array,
        _parquet_widths,
    ),
    "csv": Format(_CSV, _write_csv, partial(_csv_rows, _CSV), _csv_array, _csv_widths),
}


# --- shared -------------------------------------------------------------------------


def unreadable(folder: Path, number: int) -> list[tuple[str, str]]:
    """Key and reason of the examples of a shard that could not be read."""
    file = folder / f"unreadable-{number:05d}.csv"
    if not file.exists():
        return []
    with open(file, **_TEXT) as lines:
        return [(row[0], row[1]) for row in csv.reader(lines)][1:]


def _write_unreadable(folder: Path, number: int, shard: Shard) -> None:
    file = folder / f"unreadable-{number:05d}.csv"
    if not shard.unreadable:
        file.unlink(missing_ok=True)  # of an attempt that was killed
        return
    with replacing(file) as out, _text(out) as text:
        lines = csv.writer(text)
        lines.writerow(("key", "reason"))
        lines.writerows(shard.unreadable)


@contextlib.contextmanager
def _text(out: IO[bytes]) -> Iterator[io.TextIOWrapper]:
    wrapper = io.TextIOWrapper(out, **_TEXT)
    yield wrapper
    wrapper.flush()
    wrapper.detach()


def _heads(shard: Shard, class_names: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
    for number, key, label in zip(shard.ids, shard.keys, shard.labels, strict=True):
        name = class_names[label] if label >= 0 and class_names else ""
        yield int(number), key, int(label) if label >= 0 else "", name


def _utf8(key: str) -> str:
    """A path or a name as text that every Parquet reader takes."""
    return os.fsencode(key).decode("utf-8", "backslashreplace")
