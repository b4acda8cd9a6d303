"""Files of a run directory, here and on any file system that TensorFlow knows.

`tf.io.gfile.walk` and `isdir` take a failing network for an empty folder, after which
a copy of it would be emptied; what is here raises instead.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf

from tfssl.runs import checkpoint

Signature = tuple[int, int]
"""Size, and time of the last change in nanoseconds (0 where nobody keeps it)."""

Files = dict[str, Signature]
"""Path below the run directory, with `/`, to what it looks like."""

_CHECKPOINT = re.compile(rf"((?:.*/)?checkpoints)/{checkpoint.NAME}/[^/]+$")


class Checkpoint(NamedTuple):
    """One checkpoint among the files of a run directory.

    Attributes:
      series: The folder of it and its like, below the run directory.
      step: Number of updates made.
    """

    series: str
    step: int

    @property
    def folder(self) -> str:
        """Its path below the run directory."""
        return f"{self.series}/{checkpoint.name_of(self.step)}"

    @property
    def manifest(self) -> str:
        """The path of what makes it complete."""
        return f"{self.folder}/{checkpoint.MANIFEST}"

    def files(self, among: Files) -> list[str]:
        """The paths of its files, the manifest last."""
        names = [name for name in among if checkpoint_of(name) == self]
        return sorted(names, key=lambda name: (name == self.manifest, name))


def checkpoint_of(name: str) -> Checkpoint | None:
    """The checkpoint that a file is a part of, if any."""
    match = _CHECKPOINT.match(name)
    return Checkpoint(match[1], int(match[2])) if match else None


def checkpoints(files: Files) -> set[Checkpoint]:
    """All checkpoints, halves too."""
    return {found for name in files if (found := checkpoint_of(name))}


def complete(files: Files) -> list[Checkpoint]:
    """The checkpoints that have a manifest, ascending."""
    return sorted(found for found in checkpoints(files) if found.manifest in files)


def listing(url: str) -> Files:
    """All files below a folder but hidden ones; none where there is no such folder.

    Raises:
      tf.errors.OpError: It cannot be told what is there.
    """
    found: Files = {}
    waiting = [""]
    while waiting:
        inside = waiting.pop()
        for name in _names(f"{url}/{inside}".rstrip("/")):
            path = f"{inside}/{name}".lstrip("/")
            try:
                status = tf.io.gfile.stat(f"{url}/{path}")
            except tf.errors.NotFoundError:
                continue  # removed since it was listed
            if status.is_directory:
                waiting.append(path)
            else:
                found[path] = (status.length, status.mtime_nsec)
    return found


def _names(folder: str) -> list[str]:
    try:
        tf.io.gfile.stat(folder)
    except tf.errors.NotFoundError:
        return []
    # Object stores put a slash after the name of a folder.
    names = (name.rstrip("/") for name in tf.io.gfile.listdir(folder))
    return [name for name in names if name and not name.startswith(".")]


def local_listing(folder: Path) -> Files:
    """All files below a folder of this disk but hidden ones."""
    found: Files = {}
    for here, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            file = Path(here, name)
            if not name.startswith(".") and (seen := signature(file)):
                found[file.relative_to(folder).as_posix()] = seen
    return found


def signature(file: Path) -> Signature | None:
    """What a file of this disk looks like; None where it is gone."""
    try:
        status = file.stat()
    except FileNotFoundError:
        return None
    return status.st_size, status.st_mtime_ns


def read_text(path: str) -> str | None:
    """The content of a file; None where there is none.

    Raises:
      tf.errors.OpError: It cannot be read.
    """
    try:
        with tf.io.gfile.GFile(path, "r") as file:
            return file.read()
    except tf.errors.NotFoundError:
        return None


def copy(source: str, target: str) -> None:
    """Copies a file, into folders that are made for it.

    Raises:
      tf.errors.OpError: It cannot be read or written.
    """
    tf.io.gfile.makedirs(target.rpartition("/")[0])
    tf.io.gfile.copy(source, target, overwrite=True)
