"""Paths of other file systems (`gs://…`), and where their copies on this disk are.

Layer 0, no TensorFlow: what reads them is `tfssl.train.mirror`.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def is_remote(path: str | Path) -> bool:
    """Whether a path belongs to a file system of TensorFlow's (`gs://…`)."""
    return "://" in str(path)


def cache_directory() -> str:
    """`$XDG_CACHE_HOME/tfssl`, else `~/.cache/tfssl`: never beside the user's data."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(base, "tfssl")


def working_copy(path: str | Path) -> Path:
    """Where a run directory is read and written on this machine.

    Args:
      path: `--run_dir`. A local one is its own working copy; of a remote one it is
        `~/.cache/tfssl/runs/HASH/NAME`.
    """
    if not is_remote(path):
        return Path(path)
    url = str(path).rstrip("/")
    digest = hashlib.blake2b(os.fsencode(url), digest_size=8).hexdigest()
    return Path(cache_directory(), "runs", digest, url.rpartition("/")[2])
