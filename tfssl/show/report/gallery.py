"""A page of pictures in rows: search results, groups of duplicates, what to label."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfssl.errors import printable
from tfssl.show.report.inline import picture_tile
from tfssl.show.report.page import template


@dataclasses.dataclass(frozen=True)
class Picture:
    """One image of a page.

    Attributes:
      image: uint8 `[S, S, 3]`; None where it cannot be shown.
      name: File or class, under it.
      note: Beside the name, such as a cosine.
      match: Whether it has the class of the row's first; None where that is unknown.
      where: Its path, shown when the pointer rests on it.
    """

    image: np.ndarray | None
    name: str
    note: str = ""
    match: bool | None = None
    where: str = ""


@dataclasses.dataclass(frozen=True)
class PictureRow:
    """Images that belong together.

    Attributes:
      pictures: In order.
      title: Above them; "" for none.
      query: What they are about, set apart at the left.
    """

    pictures: Sequence[Picture]
    title: str = ""
    query: Picture | None = None


def build_gallery(
    title: str,
    lead: str,
    rows: Sequence[PictureRow],
    *,
    facts: Sequence[tuple[str, str]] = (),
    files: Sequence[tuple[str, str]] = (),
) -> str:
    """Builds one self-contained page.

    Args:
      title: Its heading.
      lead: A sentence or two below it.
      rows: The pictures.
      facts: Names and numbers, under the heading.
      files: What each written file holds, and its path.

    Returns:
      The HTML text; see `build_page`.
    """
    return template("gallery.html.j2").render(
        title=printable(title),
        lead=printable(lead),
        rows=[
            {
                "title": printable(row.title),
                "query": row.query and _tile(row.query),
                "tiles": [_tile(picture) for picture in row.pictures],
            }
            for row in rows
        ],
        facts=[(name, printable(value)) for name, value in facts],
        files=[(what, printable(path)) for what, path in files],
    )


def _tile(picture: Picture) -> dict[str, Any]:
    name = printable(picture.name)
    words = {
        "name": name,
        "note": picture.note,
        "match": picture.match,
        "where": printable(picture.where),
    }
    if picture.image is None:
        return words
    return {**picture_tile(picture.image, f"{name} {picture.note}".strip()), **words}
