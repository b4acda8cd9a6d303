"""Finds equal and nearly equal images among many, by hashes."""

from __future__ import annotations

import numpy as np

DISTANCE = 4
"""Bits of 64 in which the perceptual hashes of "the same" picture may differ."""


def equal_groups(keys: np.ndarray) -> list[np.ndarray]:
    """Indices that share a key, for every key that occurs more than once.

    Args:
      keys: `[n]` of anything that can be sorted.
    """
    order = np.argsort(keys, kind="stable")
    edges = np.flatnonzero(keys[order][1:] != keys[order][:-1]) + 1
    return [group for group in np.split(order, edges) if len(group) > 1]


def near_pairs(hashes: np.ndarray, distance: int = DISTANCE) -> np.ndarray:
    """All pairs of different hashes that differ in at most so many bits.

    Exact: of `distance + 1` bands of bits at least one is equal in such a pair, so that
    only hashes that share a band are compared.

    Args:
      hashes: uint64 `[n]`, distinct.
      distance: Bits, < 63.

    Returns:
      int64 `[pairs, 2]`, each pair once, first < second, sorted.
    """
    edges = np.linspace(0, 64, distance + 2).astype(int)
    found: set[tuple[int, int]] = set()
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        mask = np.uint64((1 << int(high - low)) - 1)
        for group in equal_groups((hashes >> np.uint64(low)) & mask):
            for place, one in enumerate(group[:-1]):
                rest = group[place + 1 :]
                bits = _ones(hashes[rest] ^ hashes[one])
                close = rest[bits <= distance]
                found.update((min(one, o), max(one, o)) for o in close)
    return np.array(sorted(found), np.int64).reshape(-1, 2)


def _ones(values: np.ndarray) -> np.ndarray:
    """Number of one bits of each uint64."""
    octets = values.view(np.uint8).reshape(len(values), 8)
    return np.unpackbits(octets, axis=1).sum(1)
