"""The training images are a part of what a run is: its schedules count them."""

from __future__ import annotations

import hashlib
import json

from tfssl.config.remote import read_json
from tfssl.data import Source
from tfssl.errors import DataError, message
from tfssl.runs import RunDirectory

DATA = "data.json"
"""In a run directory: which images it trains on."""


def identity(source: Source) -> dict[str, object]:
    """Returns what tells a set of training images from another.

    Returns:
      `name`; `examples`, their number; `labelled` of them; `classes`, the number; and
      `digest`, SHA-256 over the numbers and labels of the examples in their order and
      the names of the classes, and over masks. The pixels are not in it.
    """
    found = hashlib.sha256()
    for numbers in (source.ids, source.labels):
        found.update(numbers.astype("<i8").tobytes())
    found.update(getattr(source, "targets_digest", "").encode())
    found.update("\0".join(source.class_names).encode("utf-8", "surrogateescape"))
    return {
        "name": source.name,
        "examples": source.num_examples,
        "labelled": int((source.labels >= 0).sum()),
        "classes": len(source.class_names),
        "digest": found.hexdigest(),
    }


def refuse_other_data(
    directory: RunDirectory, source: Source, *, accept: bool = False
) -> str:
    """Refuses to go on with a training on other images than it began with.

    Args:
      directory: Of the training.
      source: Its images now.
      accept: Other images are what the user wants.

    Returns:
      The text of `DATA`, to be written with the flags.

    Raises:
      DataError: The directory holds a checkpoint of a training on others.
    """
    now = identity(source)
    file = directory.path / DATA
    began = bool(directory.checkpoint_store().steps()) and file.is_file()
    stored = read_json(file) if began else now
    if stored["digest"] != now["digest"] and not accept:
        raise DataError(
            message(
                f"{_said(now)} to go on with",
                f"what the run in {directory.path} was started with: {_said(stored)}",
                "those images, another run_dir, or accept_changed_data, which goes on "
                "with lengths and rates of the new number",
            )
        )
    return json.dumps(now, indent=1) + "\n"


def _said(data: dict[str, object]) -> str:
    return (
        f"{data['examples']} images, {data['labelled']} of them labelled, in "
        f"{data['classes']} classes ({data['name']}, digest {str(data['digest'])[:8]})"
    )
