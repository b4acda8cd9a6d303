"""Files of an export in a folder that is replaced whole."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tfssl.config.remote import as_path
from tfssl.core.paths import AnyPath, folder_written_whole
from tfssl.errors import RunDirectoryError, message

METADATA = "metadata.json"


def write_folder(
    path: str | AnyPath,
    write: Callable[[Path], None],
    metadata: Mapping[str, Any],
    texts: Mapping[str, str],
) -> AnyPath:
    """Writes a folder whole: a reader sees the old one or the new, no part.

    Args:
      path: Folder to write, also a URL; one of an earlier export is replaced.
      write: Gets the new folder, on this disk, and fills it.
      metadata: JSON-able; goes to `metadata.json`.
      texts: File name to text, for notices that travel with the weights.

    Returns:
      `path`.

    Raises:
      RunDirectoryError: `path` holds something else.
    """
    path = as_path(path)
    if path.exists() and not (path / METADATA).is_file():
        raise RunDirectoryError(
            message(f"{path}, which is no export", "a new folder", "another path")
        )
    with folder_written_whole(path, METADATA) as folder:
        write(folder)
        for name, text in texts.items():
            (folder / name).write_text(text, "utf-8")
        facts = json.dumps(metadata, indent=2, sort_keys=True, default=str)
        (folder / METADATA).write_text(facts + "\n", "utf-8")
    return path
