"""A run on disk or in a bucket: its directory, checkpoints, lock and scores.

Names load their module on first use, so that reading scores needs no TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfssl.runs import checkpoint
    from tfssl.runs.directory import RunDirectory
    from tfssl.runs.store import CheckpointStore

__all__ = ["CheckpointStore", "RunDirectory", "checkpoint"]

_MODULE = {"CheckpointStore": "store", "RunDirectory": "directory"}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_MODULE.get(name, name)}")
    return getattr(module, name) if name in _MODULE else module
