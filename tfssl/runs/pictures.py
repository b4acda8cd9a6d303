"""Pictures of what a run predicts, as files in it: `pictures/NAME.png`.

A dense task writes a few, and the report of the run shows them. No TensorFlow.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from tfssl.core.paths import write_whole
from tfssl.errors import printable
from tfssl.runs.directory import RunDirectory

FOLDER, LIST = "pictures", "pictures.json"
SIDE = 160
"""Pixels of the longer side of a panel."""


class Strip(NamedTuple):
    """Panels of one image, side by side.

    Attributes:
      name: Of the image.
      panels: uint8 `[h, w, 3]` each, of one height.
    """

    name: str
    panels: Sequence[np.ndarray]


def write_pictures(
    directory: RunDirectory, strips: Sequence[Strip], heads: Sequence[str]
) -> None:
    """Replaces the pictures of a run.

    Args:
      directory: Of the run.
      strips: In the order of the page.
      heads: What each panel shows.
    """
    folder = directory.path / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, strip in enumerate(strips):
        name = f"{number:03}.png"
        out = io.BytesIO()
        Image.fromarray(np.concatenate([_small(p) for p in strip.panels], 1)).save(
            out, "PNG"
        )
        write_whole(folder / name, out.getvalue())
        rows.append({"file": name, "name": printable(strip.name)})
    text = json.dumps({"heads": list(heads), "pictures": rows}, indent=1) + "\n"
    directory.write_atomic(folder / LIST, text)


def pictures_of(directory: RunDirectory) -> dict[str, Any] | None:
    """What `write_pictures` wrote: `heads`, and `pictures` of `name` and `data`."""
    file = directory.path / FOLDER / LIST
    if not (found := directory.read_json(file)):
        return None
    rows = [
        {"name": row["name"], "data": (file.parent / row["file"]).read_bytes()}
        for row in found["pictures"]
        if (file.parent / row["file"]).is_file()
    ]
    return {"heads": found["heads"], "pictures": rows}


def _small(panel: np.ndarray) -> np.ndarray:
    """A panel with a border, shrunk to `SIDE`; small ones are enlarged by a factor."""
    longest = max(panel.shape[:2])
    if longest > SIDE:
        image = Image.fromarray(panel)
        image.thumbnail((SIDE, SIDE))
        panel = np.asarray(image)
    elif factor := min(SIDE // longest, 4) - 1:
        panel = panel.repeat(factor + 1, 0).repeat(factor + 1, 1)
    return np.pad(panel, ((2, 2), (2, 2), (0, 0)), constant_values=255)
