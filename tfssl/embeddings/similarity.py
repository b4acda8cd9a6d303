"""Duplicates, outliers and retrieval scores: what all neighbours together say."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from tfssl.embeddings.neighbours import Search, Table, of_all_rows, without_self
from tfssl.embeddings.principal import normalized
from tfssl.errors import DataError, message

MOST_PAIRS = 5_000_000
ANSWERS = 2**22  # neighbours of all queries at once: some tables of 32 MB
"""Pairs kept, 20 bytes each; a collapsed encoder makes all images alike."""

SIDE = 8192  # rows of one side of a product: 256 MB of cosines
NEAR = 32  # neighbours asked of an index for each row; more are found by chaining


@dataclasses.dataclass(frozen=True)
class Duplicates:
    """Rows that are alike, grouped.

    Attributes:
      pairs: int64 `[p, 2]`, each once, the earlier row first, sorted.
      cosines: float32 `[p]`.
      groups: Ascending rows of each group of at least two: all that are connected by
        pairs; the largest first, of equal size the earliest.
    """

    pairs: np.ndarray
    cosines: np.ndarray
    groups: list[np.ndarray]


def duplicates(
    table: Table, threshold: float, search: Search | None = None
) -> Duplicates:
    """Finds the pairs whose cosine is at least `threshold`.

    Args:
      table: The rows.
      threshold: In (-1, 1].
      search: An index to ask for each row's nearest; None: all pairs are compared.

    Raises:
      DataError: There are more than `MOST_PAIRS`.
    """
    found = _all_pairs(table, threshold) if search is None else _near(
        table, threshold, search
    )  # fmt: skip
    pairs, cosines, count = [np.empty((0, 2), np.int64)], [np.empty(0, np.float32)], 0
    for some, values in found:
        count += len(some)
        if count > MOST_PAIRS:
            raise DataError(
                message(
                    f"more than {MOST_PAIRS:,} pairs with a cosine of at least "
                    f"{threshold:g}",
                    "images that are mostly different",
                    "a higher search_threshold; if there are so many at 0.99, the "
                    "encoder has collapsed",
                )
            )
        pairs.append(some)
        cosines.append(values)
    pair, cosine = np.concatenate(pairs), np.concatenate(cosines)
    pair, first = np.unique(pair, axis=0, return_index=True)
    return Duplicates(pair, cosine[first], _groups(pair))


def _all_pairs(
    table: Table, threshold: float
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for low, left in _sides(table):
        for high, right in _sides(table, low):
            yield from _above(left @ right.T, low, high, threshold)


def _sides(table: Table, at_least: int = 0) -> Iterator[tuple[int, np.ndarray]]:
    """Normalised parts of a table whose first row is `at_least` or later.

    Parts are the table's blocks, or whole numbers of them: the same at every call.
    """
    parts: list[np.ndarray] = []
    start = 0
    for first, block in table.blocks():
        start = start if parts else first
        parts.append(block)
        if first + len(block) - start >= SIDE or first + len(block) == len(table):
            if start >= at_least:
                yield start, normalized(np.concatenate(parts))
            parts = []


def _above(
    cosines: np.ndarray, low: int, high: int, threshold: float
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for i in range(0, len(cosines), 512):
        part = cosines[i : i + 512]
        left, right = np.nonzero(part >= threshold)
        later = right + high > left + i + low
        left, right = left[later], right[later]
        yield np.stack([left + i + low, right + high], axis=1), part[left, right]


def _near(
    table: Table, threshold: float, search: Search
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for own, rows, cosines in of_all_rows(table, search, NEAR):
        left, place = np.nonzero((cosines >= threshold) & (rows >= 0))
        pair = np.stack([own[left], rows[left, place]], axis=1)
        yield np.sort(pair, axis=1), cosines[left, place]


def _groups(pairs: np.ndarray) -> list[np.ndarray]:
    if not len(pairs):
        return []
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    rows, place = np.unique(pairs, return_inverse=True)
    place = place.reshape(-1, 2)
    edges = np.ones(len(place), bool), (place[:, 0], place[:, 1])
    graph = coo_matrix(edges, shape=(len(rows), len(rows)))
    _, group = connected_components(graph, directed=False)
    order = np.argsort(group, kind="stable")
    cuts = np.flatnonzero(np.diff(group[order])) + 1
    groups = np.split(rows[order], cuts)
    return sorted(groups, key=lambda rows: (-len(rows), rows[0]))


def loneliness(table: Table, search: Search, k: int) -> np.ndarray:
    """One minus the mean cosine to the `k` nearest other rows, float32 `[n]`.

    0 where `k` rows are equal to it; the largest values are the outliers.
    """
    out = np.empty(len(table), np.float32)
    k = min(k, len(table) - 1)
    for own, rows, cosines in of_all_rows(table, search, k):
        known = rows >= 0
        near = np.where(known, cosines, 0).sum(axis=1) / np.maximum(
            known.sum(axis=1), 1
        )
        out[own] = 1 - near
    return out


@dataclasses.dataclass(frozen=True)
class Retrieval:
    """How well the nearest rows have the label of the query.

    Attributes:
      recall: k to the share of queries with a row of their class among the k nearest.
      map_at_r: mAP@R of Musgrave et al. 2020, "A Metric Learning Reality Check": with
        R the number of other rows of the query's class, the mean over queries of
        1/R * sum over i <= R of (precision among the first i if row i is of the class,
        else 0).
      r_precision: Share of the query's class among its R nearest, mean over queries.
      queries: How many; labelled rows whose class has another row.
    """

    recall: dict[int, float]
    map_at_r: float
    r_precision: float
    queries: int

    @property
    def metrics(self) -> dict[str, float]:
        """Name to number, the leading one first."""
        recall = {f"recall_at_{k}": share for k, share in self.recall.items()}
        return {"map_at_r": self.map_at_r, "r_precision": self.r_precision, **recall}


def others_of_class(labels: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Counts the other rows of each query's class.

    Args:
      labels: int64 `[n]` of all rows, -1 where there is none.
      own: int64 `[q]`, the row that each query is.

    Returns:
      int64 `[q]`.

    Raises:
      DataError: There is none for any query.
    """
    sizes = np.bincount(labels[labels >= 0], minlength=1)
    others = np.where(labels[own] >= 0, sizes[np.maximum(labels[own], 0)] - 1, 0)
    if not (others > 0).any():
        raise DataError(
            message(
                f"{len(own)} rows of which no two have the same label",
                "labels",
                "embeddings of a labelled data set",
            )
        )
    return others


def retrieval(
    vectors: np.ndarray,
    own: np.ndarray,
    labels: np.ndarray,
    search: Search,
    ks: tuple[int, ...] = (1, 2, 4, 8, 10),
) -> Retrieval:
    """Scores rows as queries against all other rows.

    Args:
      vectors: `[q, D]`, the queries.
      own: int64 `[q]`, the row that each is.
      labels: int64 `[n]` of all rows, -1 where there is none.
      search: In all rows.
      ks: For recall@k.

    Raises:
      DataError: No query has a label that another row has too.
    """
    others = others_of_class(labels, own)
    asked = np.flatnonzero(others > 0)
    vectors, own, others = vectors[asked], own[asked], others[asked]
    deep = min(int(max(others.max(), *ks)), len(labels) - 1)
    recall = np.empty((len(asked), len(ks)), bool)
    precisions, within = np.empty(len(asked)), np.empty(len(asked))
    step = max(1, ANSWERS // deep)
    for start in range(0, len(asked), step):
        part = slice(start, start + step)
        rows, _ = without_self(own[part], *search(vectors[part], deep + 1))
        # An index may find fewer: -1 is nobody's class.
        hits = (labels[rows] == labels[own[part]][:, None]) & (rows >= 0)
        precision = np.cumsum(hits, axis=1) / np.arange(1, deep + 1)
        recall[part] = np.stack([hits[:, :k].any(axis=1) for k in ks], 1)
        hits &= np.arange(1, deep + 1) <= others[part, None]
        precisions[part] = (precision * hits).sum(axis=1)
        within[part] = hits.sum(axis=1)
    return Retrieval(
        dict(zip(ks, recall.mean(axis=0).tolist(), strict=True)),
        float((precisions / others).mean()),
        float((within / others).mean()),
        len(asked),
    )
