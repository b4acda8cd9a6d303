"""A run on disk: its directory, checkpoints and lock."""

from tfssl.runs import checkpoint
from tfssl.runs.directory import RunDirectory
from tfssl.runs.store import CheckpointStore

__all__ = ["CheckpointStore", "RunDirectory", "checkpoint"]
