"""Published checkpoints of other programs, as tensors under our own names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tfssl.weights import byol, moco, simclr
from tfssl.weights.provenance import describe, licence_text
from tfssl.weights.published import CLASSIFIER, Network, Published

__all__ = [
    "CLASSIFIER",
    "READERS",
    "Network",
    "Published",
    "describe",
    "licence_text",
    "open_published",
]

READERS: dict[str, Callable[[Path], Published]] = {
    "simclr": simclr.open_file,
    "byol": byol.open_file,
    "moco": moco.open_moco,
    "torchvision": moco.open_torchvision,
}
"""Kind in `--source=KIND:PATH` to what opens such a file."""


def open_published(kind: str, path: str | Path) -> Published:
    """Opens a published checkpoint; its numbers are read later.

    Args:
      kind: A key of `READERS`.
      path: The file or folder.

    Returns:
      What is in it.

    Raises:
      CheckpointError: It is missing, damaged, unsafe, or of another kind.
    """
    return READERS[kind](Path(path))
