"""Kind of a source to the function that opens it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tfssl.weights import byol, moco, simclr
from tfssl.weights.network import Foreign

SOURCES: dict[str, Callable[[Path], Foreign]] = {
    "simclr": simclr.open_file,
    "byol": byol.open_file,
    "moco": moco.open_moco,
    "torchvision": moco.open_torchvision,
}
"""The kinds of `--source=KIND:PATH`; `config.presets.SOURCE_KINDS` has the same."""


def open_source(kind: str, path: str | Path) -> Foreign:
    """Opens a foreign checkpoint; the numbers are read later.

    Args:
      kind: A key of `SOURCES`.
      path: The file or folder.

    Returns:
      What is in it.

    Raises:
      CheckpointError: It is missing, damaged, unsafe, or of another kind.
    """
    return SOURCES[kind](Path(path))
