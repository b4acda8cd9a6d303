"""Principal components of rows that do not fit into memory, the same on every run."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from tfssl.embeddings.shard_files import FEATURES, replacing
from tfssl.embeddings.writing import Writer
from tfssl.errors import DataError, message

PCA = "pca.npz"
"""Beside vectors that are reduced: their components."""


@dataclasses.dataclass(frozen=True)
class Principal:
    """The directions in which rows vary most.

    Attributes:
      mean: float32 `[F]`.
      components: float32 `[D, F]`, orthonormal rows, by falling variance; the largest
        entry of each is positive.
      variance: float32 `[D]`, along each of them.
      total: Variance of all F columns together.
    """

    mean: np.ndarray
    components: np.ndarray
    variance: np.ndarray
    total: float

    @classmethod
    def fit(cls, blocks: Iterable[np.ndarray], dimensions: int) -> Principal:
        """Finds the components from the exact covariance, in one pass.

        Args:
          blocks: float `[m, F]`, as often as there are rows; F² float64 are kept.
          dimensions: D, at most F and at most the number of rows.

        Raises:
          DataError: There are fewer columns or rows than that.
        """
        rows, shift, total, product = 0, None, None, None
        for block in blocks:
            block = np.asarray(block, np.float64)
            if not len(block):
                continue
            if shift is None:
                # Products of centred numbers: large means cost no digits.
                shift = block.mean(axis=0)
                total = np.zeros_like(shift)
                product = np.zeros((len(shift), len(shift)))
            centred = block - shift
            rows += len(block)
            total += centred.sum(axis=0)
            product += centred.T @ centred
        most = min(rows, 0 if shift is None else len(shift))
        if dimensions > most:
            raise DataError(
                message(
                    f"{dimensions} principal components of {rows} rows",
                    f"at most {most}",
                    f"embed_pca={most} or less",
                )
            )
        offset = total / rows
        covariance = (product - rows * np.outer(offset, offset)) / max(1, rows - 1)
        values, vectors = np.linalg.eigh(covariance)
        top = vectors[:, ::-1][:, :dimensions].T
        largest = np.abs(top).argmax(axis=1)
        top = top * np.sign(top[np.arange(len(top)), largest])[:, None]
        return cls(
            (shift + offset).astype(np.float32),
            top.astype(np.float32),
            np.maximum(values[::-1][:dimensions], 0).astype(np.float32),
            float(np.trace(covariance)),
        )

    def apply(self, rows: np.ndarray) -> np.ndarray:
        """Coordinates of rows `[m, F]` along the components, float32 `[m, D]`."""
        return (np.asarray(rows, np.float32) - self.mean) @ self.components.T

    @property
    def kept(self) -> float:
        """Share of the variance that the components hold."""
        return float(self.variance.sum() / self.total) if self.total else 1.0

    def save(self, file: Path) -> None:
        """Writes it as `.npz`."""
        with replacing(file) as out:
            np.savez(out, **dataclasses.asdict(self))

    @classmethod
    def load(cls, file: Path) -> Principal:
        """Reads what `save` wrote."""
        with np.load(file) as found:
            return cls(
                found["mean"],
                found["components"],
                found["variance"],
                float(found["total"]),
            )


def reduce(first: Writer, writer: Writer, dimensions: int, *, normalize: bool) -> float:
    """Writes the vectors of another writer along their principal components.

    Returns:
      Share of the variance that the components hold; they stand beside the vectors.
    """
    file = writer.folder / PCA
    if not file.exists():
        blocks = (first.read(n, [FEATURES]).arrays[FEATURES] for n in first.shards())
        Principal.fit(blocks, dimensions).save(file)
    components, names = Principal.load(file), list(first.widths())
    for number in writer.missing():
        shard = first.read(number, names)
        rows = components.apply(shard.arrays[FEATURES])
        shard.arrays[FEATURES] = normalized(rows) if normalize else rows
        writer.write(number, shard)
    return components.kept


def normalized(rows: np.ndarray) -> np.ndarray:
    """Rows `[m, D]` scaled to length 1, float32; a row of zeros stays one."""
    rows = np.asarray(rows, np.float32)
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    return rows / np.maximum(lengths, 1e-12)[:, None].astype(np.float32)
