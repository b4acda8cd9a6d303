"""Nearest neighbours by cosine, exactly, in blocks: NumPy is enough up to 10^6 rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np

from tfssl.embeddings.principal import normalized

QUERIES, BLOCK = 1024, 8192  # rows of one product: 32 MB of cosines
LONE = 16384  # rows that are looked up together when every row is a query


class Table(Protocol):
    """Rows that are read a block at a time, as `Embeddings` are."""

    def __len__(self) -> int:
        """Rows."""
        ...

    def blocks(self) -> Iterable[tuple[int, np.ndarray]]:
        """The first row's number and rows `[m, D]`, together all, in order."""
        ...


class Search(Protocol):
    """Anything that finds the nearest rows, exactly or nearly."""

    def __call__(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows int64 `[q, k]`, -1 where none was found, and cosines, falling."""
        ...


class Exact:
    """Compares every query with every row.

    Args:
      table: The rows; they are read once for each call.
    """

    def __init__(self, table: Table):
        self._table = table

    def __call__(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The `k` rows of highest cosine for every query.

        Args:
          queries: `[q, D]`, of any length.
          k: At most so many; fewer where the table is smaller.

        Returns:
          Rows int64 `[q, k]` and cosines float32 `[q, k]`, falling; of equal cosines
          the earlier row first.
        """
        k = min(k, len(self._table))
        queries = normalized(queries)
        chunks = [slice(i, i + QUERIES) for i in range(0, len(queries), QUERIES)]
        rows = np.full((len(queries), k), -1, np.int64)
        cosines = np.full((len(queries), k), -np.inf, np.float32)
        for first, block in _pieces(self._table.blocks(), max(BLOCK, 16 * k)):
            unit = normalized(block)
            for chunk in chunks:
                _merge(rows[chunk], cosines[chunk], queries[chunk] @ unit.T, first)
        return rows, cosines


def _pieces(
    blocks: Iterable[tuple[int, np.ndarray]], size: int
) -> Iterator[tuple[int, np.ndarray]]:
    """The same rows in blocks of about `size`, joined from smaller ones."""
    parts: list[np.ndarray] = []
    start = rows = 0
    for first, block in blocks:
        start = start if parts else first
        parts.append(block)
        rows += len(block)
        if rows >= size:
            yield start, np.concatenate(parts)
            parts, rows = [], 0
    if parts:
        yield start, np.concatenate(parts)


def _merge(rows: np.ndarray, cosines: np.ndarray, new: np.ndarray, first: int) -> None:
    """Puts into the best `k` what is better in a block that begins at row `first`.

    Only what exceeds the worst of a query's best is sorted: soon that is little.
    """
    q, k = rows.shape
    if new.shape[1] > k:
        floor = np.partition(new, -k, axis=1)[:, -k] if rows[0, -1] < 0 else None
    else:
        floor = np.full(q, -np.inf, np.float32)
    better = new > cosines[:, -1:] if floor is None else new >= floor[:, None]
    query, place = np.nonzero(better)
    if not len(query):
        return
    old = np.repeat(np.arange(q), k)
    of = np.concatenate([old, query])
    row = np.concatenate([rows.ravel(), place + first])
    cosine = np.concatenate([cosines.ravel(), new[query, place]])
    order = np.lexsort((row, -cosine, of))
    starts = np.searchsorted(of[order], np.arange(q))
    best = order[starts[:, None] + np.arange(k)]
    rows[:], cosines[:] = row[best], cosine[best]


def of_all_rows(
    table: Table, search: Search, k: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The nearest others of every row, a part of the table at a time.

    Args:
      table: The rows.
      search: In them.
      k: Others.

    Yields:
      Own rows int64 `[m]`, their neighbours `[m, k]` and the cosines; -1 and -inf
      where there are not so many.
    """
    for first, block in _pieces(table.blocks(), LONE):
        own = np.arange(first, first + len(block))
        yield own, *without_self(own, *search(block, k + 1))


def without_self(
    own: np.ndarray, rows: np.ndarray, cosines: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Drops each query from its own neighbours.

    Args:
      own: int64 `[q]`, the row that each query is.
      rows: int64 `[q, k + 1]`, neighbours.
      cosines: Of the same shape.

    Returns:
      Rows and cosines `[q, k]`: without the query, or without the last where equal
      rows hid it.
    """
    is_own = rows == own[:, None]
    is_own[~is_own.any(axis=1), -1] = True
    shape = (len(rows), rows.shape[1] - 1)
    return rows[~is_own].reshape(shape), cosines[~is_own].reshape(shape)
