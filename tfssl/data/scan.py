"""Finds the image files of a directory tree, and counts what it passes over."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator

EXTENSIONS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp")


@dataclasses.dataclass
class Tally:
    """What a scan passed over.

    Attributes:
      hidden: Files and directories whose names begin with a dot.
      other: Files that are not images, by extension ("" without one).
      loops: Links to directories that the scan had already entered.
      unreadable: path -> reason, for directories without permission and dead links.
    """

    hidden: int = 0
    other: dict[str, int] = dataclasses.field(default_factory=dict)
    loops: int = 0
    unreadable: dict[str, str] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        kinds = sorted(self.other.items(), key=lambda kind: -kind[1])
        named = ", ".join(f"{n} {ext or 'without extension'}" for ext, n in kinds[:5])
        return (
            f"{sum(self.other.values())} other files"
            + (f" ({named})" if named else "")
            + f", {self.hidden} hidden, {len(self.unreadable)} unreadable, "
            f"{self.loops} repeated links"
        )


def is_image(name: str) -> bool:
    """Whether a file name has one of `EXTENSIONS`, in upper or lower case."""
    return name.lower().endswith(EXTENSIONS)


def find_images(root: str, tally: Tally | None = None) -> Iterator[str]:
    """Yields the paths of the image files below `root`, relative to it, with `/`.

    Links to files and directories are followed; a directory is entered once, by its
    real path first, so loops end. Hidden names are passed over.

    Args:
      root: The directory.
      tally: Counts what is passed over.
    """
    tally = Tally() if tally is None else tally
    entered: set[tuple[int, int]] = set()
    real, linked = [""], []  # directories still to enter
    while real or linked:
        inside = real.pop() if real else linked.pop()
        here = os.path.join(root, inside)
        try:
            status = os.stat(here)
            if (status.st_dev, status.st_ino) in entered:
                tally.loops += 1
                continue
            entered.add((status.st_dev, status.st_ino))
            with os.scandir(here) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            tally.unreadable[here] = error.strerror or str(error)
            continue
        for entry in entries:
            path = f"{inside}/{entry.name}" if inside else entry.name
            if entry.name.startswith("."):
                tally.hidden += 1
            elif _is_dir(entry):
                (linked if entry.is_symlink() else real).append(path)
            elif not is_image(entry.name):
                extension = os.path.splitext(entry.name)[1].lower()
                tally.other[extension] = tally.other.get(extension, 0) + 1
            elif _is_file(entry):
                yield path
            else:
                tally.unreadable[os.path.join(root, path)] = "dead link or no file"


def _is_dir(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads through itself
        return False


def _is_file(entry: os.DirEntry) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False
