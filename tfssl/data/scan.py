"""Lists the image files of a directory tree, and counts what it passes over.

Local trees and those of any file system that TensorFlow knows (`gs://`).
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
import re
import time
from collections.abc import Iterator, Mapping

import tensorflow as tf

from tfssl.config.remote import is_remote
from tfssl.data.source import first_line
from tfssl.errors import printable

_LOG = logging.getLogger(__name__)

EXTENSIONS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp")
FOREIGN = (".heic", ".heif", ".avif", ".tif", ".tiff", ".jxl", ".jp2", ".psd", ".svg",
           ".ico", ".ppm", ".pgm", ".tga", ".dds", ".exr", ".dng", ".cr2", ".cr3",
           ".nef", ".arw", ".raf", ".orf", ".rw2")  # fmt: skip
"""Extensions of images that nothing here decodes."""
LEFTOVERS = re.compile(
    r"""@eaDir | @tmp | @Recycle | @Recently-Snapshot | @sharebin | @GMT-[\d.-]+
    | \#recycle | \#snapshot | ~snapshot | .*@SynoEAStream | .*@SynoResource
    | \$RECYCLE\.BIN | RECYCLE[DR] | System\ Volume\ Information | FOUND\.\d+
    | Thumbs\.db(:.*)? | ehthumbs(_vista)?\.db | desktop\.ini | Picasa\.ini | ~\$.*
    | ZbThumbnail\.info | WPSystem | LOST\.DIR | lost\+found | PaxHeaders?(\.\d+)?
    | __MACOSX | Icon\r | Network\ Trash\ Folder | Temporary\ Items
    | TheVolumeSettingsFolder | Desktop\ D[BF] | __pycache__ | _vti_cnf
    | \.[^/]* | .*\.(crdownload|download|opdownload|part|partial)""",
    re.IGNORECASE | re.VERBOSE,
)
"""Names that systems, file servers and browsers leave behind: never data. Among them
all that begins with a dot."""

_CHANGES = ("st_size", "st_mtime_ns", "st_ctime_ns", "st_ino", "st_dev")

UNSURE = -1
"""Signature of a directory that must be listed again next time."""
# A directory changed this recently may change again within one tick of a coarse clock
# (FAT: 2 s) and keep its time.
_RACY = 3 * 10**9


@dataclasses.dataclass
class Tally:
    """What a scan passed over.

    Attributes:
      hidden: Entries by the names of `LEFTOVERS`; dotted ones together.
      other: Files that are not images, by extension ("" without one).
      loops: Links to directories that the scan had already entered.
      unreadable: path -> reason, for directories without permission and dead links.
    """

    hidden: dict[str, int] = dataclasses.field(default_factory=dict)
    other: dict[str, int] = dataclasses.field(default_factory=dict)
    loops: int = 0
    unreadable: dict[str, str] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        kinds = sorted(self.other.items(), key=lambda kind: -kind[1])
        named = ", ".join(f"{n} {ext or 'without extension'}" for ext, n in kinds[:5])
        return (
            f"{sum(self.other.values())} other files"
            + (f" ({named})" if named else "")
            + f", {sum(self.hidden.values())} hidden, "
            f"{len(self.unreadable)} unreadable, {self.loops} repeated links"
        )

    def add(self, other: Tally) -> None:
        """Adds another tally to this one."""
        self.loops += other.loops
        self.unreadable |= other.unreadable
        for mine, theirs in ((self.other, other.other), (self.hidden, other.hidden)):
            for name, count in theirs.items():
                mine[name] = mine.get(name, 0) + count


@dataclasses.dataclass
class Directory:
    """What one directory holds; see `walk`.

    Attributes:
      inside: Its path below the root, with `/`; "" for the root.
      signature: Changes when an entry is added, removed or renamed; `UNSURE` where
        nobody can say.
      images: Names of its image files, sorted.
      folders: Names of the directories in it.
      links: Names of links to directories.
      tally: What else there is.
    """

    inside: str
    signature: int = UNSURE
    images: list[str] = dataclasses.field(default_factory=list)
    folders: list[str] = dataclasses.field(default_factory=list)
    links: list[str] = dataclasses.field(default_factory=list)
    tally: Tally = dataclasses.field(default_factory=Tally)

    def path(self, name: str) -> str:
        """The path of an entry below the root."""
        return f"{self.inside}/{name}" if self.inside else name


def is_image(name: str) -> bool:
    """Whether a file name has one of `EXTENSIONS`, in upper or lower case."""
    return name.lower().endswith(EXTENSIONS)


def files_below(root: str, folder: str = "") -> list[str]:
    """Lists all files of a local folder and below, sorted paths below `root` with `/`.

    Entered and passed over is what `walk` enters and passes over; a pipe or a device,
    which would be read for ever, is no file. A link that leads nowhere is listed: it
    may come back.

    Args:
      root: Where paths begin.
      folder: The folder, a path below `root`.
    """
    found: list[str] = []
    entered: set[tuple[int, int]] = set()
    real, linked = [folder], []
    while real or linked:
        inside = real.pop() if real else linked.pop()
        here = os.path.join(root, inside)
        try:
            if _entered(here, entered) is None:
                continue
            with os.scandir(here) as listing:
                entries = [e for e in listing if not LEFTOVERS.fullmatch(e.name)]
        except OSError as error:
            _LOG.warning("%s is left out: %s", printable(here), error.strerror)
            continue
        for entry in entries:
            path = f"{inside}/{entry.name}" if inside else entry.name
            if _is(entry.is_dir):
                (linked if entry.is_symlink() else real).append(path)
            elif _is(entry.is_file) or not os.path.exists(os.path.join(root, path)):
                found.append(path)
    return sorted(found)


def tree_stamp(root: str) -> bytes:
    """A digest that changes when any file of a local folder or below does.

    It is made of names, sizes, times (of the last writing, and of the last change of
    anything, which nobody can set back) and numbers on the disk.
    """
    digest = hashlib.sha256(os.fsencode(os.path.abspath(root)))
    for path in files_below(root):
        try:
            status = os.stat(os.path.join(root, path))
        except OSError:  # a dead link
            status = None
        of = [getattr(status, name, "") for name in _CHANGES]
        digest.update(os.fsencode(f"{path}\0{of}\0"))
    return digest.digest()


def walk(
    root: str, known: Mapping[str, Directory] | None = None
) -> Iterator[Directory]:
    """Yields every directory of a tree, the root first.

    Links to files and directories are followed; a directory is entered once, by its
    real path first, so loops end. Hidden names are passed over.

    Args:
      root: The directory.
      known: Earlier results by `inside`. One whose signature still holds is yielded
        again, the same object, without listing the directory.
    """
    if is_remote(root):
        yield from _walk_remote(root)
        return
    entered: set[tuple[int, int]] = set()
    real, linked = [""], []  # directories still to enter
    while real or linked:
        inside = real.pop() if real else linked.pop()
        here = os.path.join(root, inside)
        try:
            status = _entered(here, entered)
            if status is None:
                yield Directory(inside, tally=Tally(loops=1))
                continue
            directory = (known or {}).get(inside)
            if directory is None or directory.signature != status.st_mtime_ns:
                directory = _listed(root, inside, status.st_mtime_ns)
        except OSError as error:
            reason = error.strerror or str(error)
            yield Directory(inside, tally=Tally(unreadable={here: reason}))
            continue
        yield directory
        real += map(directory.path, directory.folders)
        linked += map(directory.path, directory.links)


def _entered(here: str, before: set[tuple[int, int]]) -> os.stat_result | None:
    """Notes that a folder is entered; None if it was before, whatever its name."""
    status = os.stat(here)
    folder = (status.st_dev, status.st_ino)
    if folder in before:
        return None
    before.add(folder)
    return status


def _listed(root: str, inside: str, signature: int) -> Directory:
    here = os.path.join(root, inside)
    recent = time.time_ns() - signature < _RACY  # also true of times in the future
    found = Directory(inside, UNSURE if recent else signature)
    with os.scandir(here) as listing:
        entries = sorted(listing, key=lambda entry: entry.name)
    for entry in entries:
        if LEFTOVERS.fullmatch(entry.name):
            _count_leftover(found.tally, entry.name)
        elif _is(entry.is_dir):
            (found.links if entry.is_symlink() else found.folders).append(entry.name)
        elif _is(entry.is_file):
            if is_image(entry.name):
                found.images.append(entry.name)
            else:
                _count_other(found.tally, entry.name)
        elif not entry.is_symlink() and not is_image(entry.name):
            _count_other(found.tally, entry.name)  # a socket, a pipe
        else:
            found.tally.unreadable[os.path.join(here, entry.name)] = (
                "dead link or no file"
            )
            found.signature = UNSURE  # what it leads to may come back
    return found


def _walk_remote(root: str) -> Iterator[Directory]:
    """The same for object stores, which have no links, rights or times of directories.

    A name with an image's extension is taken for a file: asking would cost a request.
    """
    waiting = [""]
    while waiting:
        inside = waiting.pop()
        here = os.path.join(root, inside) if inside else root
        found = Directory(inside)
        try:
            names = sorted({name.rstrip("/") for name in tf.io.gfile.listdir(here)})
        except tf.errors.OpError as error:
            found.tally.unreadable[here] = first_line(error)
            names = []
        for name in filter(None, names):
            if LEFTOVERS.fullmatch(name):
                _count_leftover(found.tally, name)
            elif is_image(name):
                found.images.append(name)
            elif tf.io.gfile.isdir(os.path.join(here, name)):
                found.folders.append(name)
            else:
                _count_other(found.tally, name)
        yield found
        waiting += map(found.path, found.folders)


def _count_leftover(tally: Tally, name: str) -> None:
    kind = "dotted names" if name.startswith(".") else name[:40]
    tally.hidden[kind] = tally.hidden.get(kind, 0) + 1


def _count_other(tally: Tally, name: str) -> None:
    extension = os.path.splitext(name)[1].lower()
    tally.other[extension] = tally.other.get(extension, 0) + 1


def _is(question) -> bool:
    try:
        return question()
    except OSError:  # a link that leads through itself
        return False
