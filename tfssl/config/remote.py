"""Paths of other file systems (`gs://…`) beside those of this disk. No TensorFlow."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from typing import Any

from tfssl.config.encoder_name import is_import_path
from tfssl.errors import RunDirectoryError, message


def is_remote(path: object) -> bool:
    """Returns whether a path belongs to a file system of TensorFlow's (`gs://…`)."""
    return "://" in str(path)


def same_place(a: str, b: str) -> bool:
    """Whether two paths of this disk lead to one place, however they are written."""
    local = not any("://" in path or is_import_path(path) for path in (a, b))
    return bool(a and b) and local and os.path.realpath(a) == os.path.realpath(b)


def as_path(path: object) -> Any:
    """Returns a path of this disk as `pathlib.Path`, another as `core.paths.Url`.

    Both have the same methods. Only TensorFlow reads the latter: it is loaded here, if
    it is not yet. `main` prepares its environment before.
    """
    if is_remote(path):
        return importlib.import_module("tfssl.core.paths").Url(str(path))
    return Path(str(path))


def read_json(path: Any) -> Any:
    """Returns the content of a JSON file that nothing can go on without.

    Args:
      path: Of `as_path`.

    Raises:
      RunDirectoryError: It is damaged.
    """
    try:
        return json.loads(path.read_bytes().decode())
    except ValueError as error:
        raise RunDirectoryError(
            message(
                f"{path}, which is damaged ({error})",
                "JSON as tfssl wrote it",
                "a backup of it, or making it again",
            )
        ) from error


def cache_directory() -> str:
    """Returns `$XDG_CACHE_HOME/tfssl`, else `~/.cache/tfssl`: never beside the data."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(base, "tfssl")
