"""An approximate index for more rows than one compares with every query: faiss.

An inverted file: rows stand in lists by the nearest of about sqrt(n) centres, and a
query is compared with those of some lists only (Jegou et al. 2011, section IV, without
the compression). It is built once, in seconds for a million rows, and kept beside the
shards. How many lists it takes is measured, not assumed.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tfssl.config.tables import import_extra
from tfssl.embeddings.neighbours import Exact, Search
from tfssl.embeddings.principal import normalized
from tfssl.embeddings.reading import Embeddings
from tfssl.embeddings.shard_files import replacing
from tfssl.errors import DataError

INDEX, DESCRIPTION = "index.faiss", "index.json"
ROWS_A_CENTRE = 64  # of the sample that the centres are found on
SAMPLE, NEAREST, WANTED = 256, 10, 0.95

EXACT_ROWS = 1_000_000
"""Rows up to which `search_index="auto"` compares with all."""


def index_of(table: Embeddings, kind: str, say: Callable[[str], None]) -> Search:
    """Opens the index of `search_index`, see `Approximate`."""
    exact = kind == "exact" or (kind == "auto" and len(table) <= EXACT_ROWS)
    return Exact(table) if exact else Approximate(table, say)


class Approximate:
    """Finds nearly all of the nearest rows.

    Args:
      table: The embeddings.
      say: Told what takes long, and the recall.

    Attributes:
      description: `sha256` of the embeddings it was built for, `build_seconds`,
        `lists`, `looked_at` (lists that a query is compared with) and `recall` (share
        of the exact 10 nearest of 256 rows spread over the table that it finds).

    Raises:
      DataError: faiss is not installed.
    """

    def __init__(self, table: Embeddings, say: Callable[[str], None] = print):
        self._faiss = import_extra(
            "faiss", "search", "an approximate search", DataError
        )
        self._table, self._say = table, say
        self.description = self._known() or self._build()
        self._index.nprobe = self.description["looked_at"]
        say(
            f"approximate index: recall@{NEAREST} "
            f"{self.description['recall']:.3f} against exact search"
        )

    def __call__(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """See `Exact`; rows may be missing, and -1 where fewer were found."""
        unit = normalized(queries)
        cosines, rows = self._index.search(unit, min(k, len(self._table)))
        return rows.astype(np.int64), np.where(rows < 0, -np.inf, cosines)

    def _known(self) -> dict[str, Any] | None:
        """Reads the index of these embeddings, if it has been built."""
        file = self._table.folder / DESCRIPTION
        if not file.exists():
            return None
        there = json.loads(file.read_text("utf-8"))
        if there["sha256"] != self._table.manifest["sha256"]:
            return None
        self._index = self._faiss.read_index(str(self._table.folder / INDEX))
        return there

    def _build(self) -> dict[str, Any]:
        faiss, rows = self._faiss, len(self._table)
        self._say(f"building an index of {rows:,} rows, once")
        started = time.monotonic()
        lists = 1 << max(0, round(math.log2(math.sqrt(rows))))
        dimension = self._table.dimension
        self._index = faiss.IndexIVFFlat(
            faiss.IndexFlatIP(dimension), dimension, lists, faiss.METRIC_INNER_PRODUCT
        )
        self._index.cp.min_points_per_centroid = 1  # no warning for small tables
        self._index.train(self._spread(ROWS_A_CENTRE * lists)[1])
        for _, block in self._table.blocks():
            self._index.add(normalized(block))
        seconds = time.monotonic() - started
        looked_at, recall = self._measured(lists)
        description = {
            "sha256": self._table.manifest["sha256"],
            "rows": rows,
            "lists": lists,
            "build_seconds": round(seconds, 1),
            "looked_at": looked_at,
            "recall": recall,
        }
        beside = self._table.folder / f".writing-{INDEX}"
        faiss.write_index(self._index, str(beside))
        os.replace(beside, self._table.folder / INDEX)
        with replacing(self._table.folder / DESCRIPTION) as out:
            out.write(json.dumps(description, indent=1).encode() + b"\n")
        return description

    def _measured(self, lists: int) -> tuple[int, float]:
        """The fewest lists that reach `WANTED`, doubling them, and their recall."""
        _, queries = self._spread(SAMPLE)
        k = min(NEAREST, len(self._table))
        truth, _ = Exact(self._table)(queries, k)
        looked_at = 1
        while True:
            self._index.nprobe = looked_at
            _, rows = self._index.search(queries, k)
            recall = overlap(truth, rows)
            if recall >= WANTED or looked_at >= lists:
                return looked_at, recall
            looked_at *= 2

    def _spread(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """At most `count` rows spread over the table, and their vectors."""
        total = len(self._table)
        rows = np.unique(np.arange(count) * total // count)
        return rows, normalized(self._table.take(rows))


def overlap(truth: np.ndarray, found: np.ndarray) -> float:
    """Share of the rows of `truth` `[q, k]` that `found` `[q, k]` has too."""
    same = [len(np.intersect1d(a, b)) for a, b in zip(truth, found, strict=True)]
    return float(np.sum(same) / truth.size)
