"""Published checkpoints of other programs, as tensors under our own names."""

from __future__ import annotations

from pathlib import Path

from tfssl.config import tables
from tfssl.weights.provenance import describe, licence_text, lines
from tfssl.weights.published import CLASSIFIER, Network, Published

__all__ = [
    "CLASSIFIER",
    "Network",
    "describe",
    "licence_text",
    "lines",
    "open_published",
]


def open_published(kind: str, path: str | Path) -> Published:
    """Opens a published checkpoint; its numbers are read later.

    Args:
      kind: A key of `tables.SOURCE_KINDS`.
      path: The file or folder.

    Returns:
      What is in it.

    Raises:
      CheckpointError: It is missing, damaged, unsafe, or of another kind.
    """
    return tables.find(tables.SOURCE_KINDS, "source", kind)(Path(path))
