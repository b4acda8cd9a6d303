"""Embeddings that are complete on disk, as one table that need not fit into memory."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tfssl.config.remote import read_json
from tfssl.embeddings.principal import PCA, Principal, normalized
from tfssl.embeddings.shard_files import FEATURES, FORMATS, Shard, unreadable
from tfssl.embeddings.writing import MANIFEST, PLAN
from tfssl.errors import DataError, message


class Embeddings:
    """The rows of `embeddings/`, in the order of the data set.

    Args:
      folder: What `--mode=embed` wrote.

    Raises:
      DataError: There are none, or they are not finished, or hold no row.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        file = self.folder / MANIFEST
        if not file.exists():
            begun = (self.folder / PLAN).exists()
            raise DataError(
                message(
                    f"embeddings in {folder} that are not finished"
                    if begun
                    else f"{folder}, which holds no embeddings",
                    f"a folder with {MANIFEST}",
                    "mode=embed" + (" again: it goes on" if begun else " first"),
                )
            )
        self.manifest: dict[str, Any] = read_json(file)
        self._format = FORMATS[self.manifest["format"]]
        self._sizes: list[int] = self.manifest["shards"]
        self._starts = np.concatenate([[0], np.cumsum(self._sizes)]).astype(np.int64)
        self.class_names: tuple[str, ...] = tuple(self.manifest["class_names"])
        if not len(self):
            raise DataError(
                message(
                    f"embeddings in {folder} without a row",
                    "at least one readable image",
                    f"looking at {self.folder / 'unreadable-00000.csv'}",
                )
            )

    def __len__(self) -> int:
        """Rows."""
        return int(self._starts[-1])

    @property
    def dimension(self) -> int:
        """Columns of the features."""
        return int(self.manifest["arrays"][FEATURES])

    @cached_property
    def rows(self) -> Shard:
        """Ids, keys and labels of all rows, without arrays."""
        parts = [self._format.rows(self.folder, n) for n in range(len(self._sizes))]
        return Shard(
            np.concatenate([part.ids for part in parts]),
            [key for part in parts for key in part.keys],
            np.concatenate([part.labels for part in parts]),
            {},
            [
                row
                for n in range(len(self._sizes))
                for row in unreadable(self.folder, n)
            ],
        )

    def class_name(self, row: int) -> str:
        """The class of a row, "" where it has no label."""
        label = int(self.rows.labels[row])
        return self.class_names[label] if label >= 0 and self.class_names else ""

    def alike(self, features: np.ndarray) -> np.ndarray:
        """Other features as these rows are: along the components, of length 1."""
        if self.manifest["pca"]:
            features = Principal.load(self.folder / PCA).apply(features)
        return normalized(features) if self.manifest["normalized"] else features

    def blocks(self, name: str = FEATURES) -> Iterator[tuple[int, np.ndarray]]:
        """The rows of an array in order, a shard at a time.

        Yields:
          Number of the first row, and float32 `[m, D]`.
        """
        for number, size in enumerate(self._sizes):
            if size:
                yield int(self._starts[number]), self._array(number, name)

    def take(self, rows: np.ndarray, name: str = FEATURES) -> np.ndarray:
        """Some rows of an array, float32 `[len(rows), D]`, in the order asked for."""
        rows = np.asarray(rows, np.int64)
        out = np.empty((len(rows), self.manifest["arrays"][name]), np.float32)
        shard = np.searchsorted(self._starts, rows, side="right") - 1
        for number in np.unique(shard):
            here = np.flatnonzero(shard == number)
            array = self._format.array(self.folder, int(number), name)
            out[here] = array[rows[here] - self._starts[number]]
        return out

    def load(self, name: str = FEATURES) -> np.ndarray:
        """All rows of an array in memory, float32 `[n, D]`."""
        out = np.empty((len(self), self.manifest["arrays"][name]), np.float32)
        for start, block in self.blocks(name):
            out[start : start + len(block)] = block
        return out

    def _array(self, number: int, name: str) -> np.ndarray:
        array = self._format.array(self.folder, number, name)
        return np.asarray(array, np.float32)
