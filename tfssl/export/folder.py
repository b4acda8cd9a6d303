"""Files of an export in a folder that is replaced whole."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tfssl.errors import RunDirectoryError, message

METADATA = "metadata.json"


def write_folder(
    path: str | Path,
    write: Callable[[Path], None],
    metadata: Mapping[str, Any],
    texts: Mapping[str, str],
) -> Path:
    """Writes a folder beside `path` and renames it: the old one or the new, no part.

    Args:
      path: Folder to write; one of an earlier export is replaced.
      write: Gets the new folder and fills it.
      metadata: JSON-able; goes to `metadata.json`.
      texts: File name to text, for notices that travel with the weights.

    Returns:
      `path`.

    Raises:
      RunDirectoryError: `path` holds something else.
    """
    path = Path(path)
    if path.exists() and not (path / METADATA).is_file():
        raise RunDirectoryError(
            message(f"{path}, which is no export", "a new folder", "another path")
        )
    partial = path.with_name(f"{path.name}.writing-{os.getpid()}")
    partial.mkdir(parents=True)
    try:
        write(partial)
        for name, text in texts.items():
            (partial / name).write_text(text)
        facts = json.dumps(metadata, indent=2, sort_keys=True, default=str)
        (partial / METADATA).write_text(facts + "\n")
        shutil.rmtree(path, ignore_errors=True)
        os.replace(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return path
