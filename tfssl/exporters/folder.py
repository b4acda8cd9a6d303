"""Files of an export in a folder that is replaced whole."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from tfssl.core.paths import AnyPath, folder_written_whole
from tfssl.errors import RunDirectoryError, message

METADATA = "metadata.json"
CARD = "MODEL_CARD.md"
"""Stands beside the model; other texts may stand deeper."""

Text: TypeAlias = str | Callable[[Mapping[str, Any]], str]
"""The content of a file, or what makes it of the metadata."""

Check: TypeAlias = Callable[[Path], Mapping[str, Any]]
"""Looks at a model before it takes its place; gives more metadata, or raises."""


@dataclasses.dataclass(frozen=True)
class About:
    """What travels with a model, whatever the format.

    Attributes:
      metadata: JSON-able.
      texts: File name to text.
      check: Looks at what was written before it takes its place. Where it raises, an
        older export stays.
    """

    metadata: Mapping[str, Any]
    texts: Mapping[str, Text]
    check: Check | None


def write_folder(
    path: AnyPath, write: Callable[[Path], object], about: About, **more: Any
) -> None:
    """Writes a folder whole: a reader sees the old one or the new, no part.

    Args:
      path: Folder to write, also a URL; one of an earlier export is replaced.
      write: Gets the new folder, on this disk, and fills it.
      about: What stands beside it.
      **more: Metadata.

    Raises:
      RunDirectoryError: `path` holds something else.
    """
    if path.exists() and not (path / METADATA).is_file():
        raise RunDirectoryError(
            message(f"{path}, which is no export", "a new folder", "another path")
        )
    with folder_written_whole(path, METADATA) as folder:
        write(folder)
        describe(folder, METADATA, about, about.texts, **more)


def describe(
    folder: Path,
    file: str,
    about: About,
    texts: Mapping[str, Text],
    **more: Any,
) -> None:
    """Checks a model that is written, and puts metadata and texts beside it.

    Args:
      folder: Holds the model.
      file: Name of the metadata in it.
      about: What was written.
      texts: Its texts, by their places in the folder.
      **more: Metadata.
    """
    checked = about.check(folder) if about.check else {}
    found = {**about.metadata, **more, **checked}
    facts = json.dumps(found, indent=2, sort_keys=True, default=str)
    made = {
        name: text if isinstance(text, str) else text(json.loads(facts))
        for name, text in texts.items()
    }
    for name, text in {**made, file: facts + "\n"}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, "utf-8")
