"""All image files below a directory, from an index where one was made before.

The index keeps, for each directory, when it was last changed and what it held. Opening
a tree asks every directory for its time, and lists again only those that changed: a
million files in ten thousand directories are ten thousand questions. A file whose
content is replaced under the same name needs no new index, since the index holds
names only. An object store tells no times: there the index is believed until
`--rebuild_index`, and its age is said.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import logging
import os
import time

import numpy as np

from tfssl.config.remote import is_remote
from tfssl.data import index_file
from tfssl.data.scan import Directory, Tally, walk

_LOG = logging.getLogger(__name__)
_KIND = "folder-2"
WORTH = 10_000  # images from which an index is kept


def path_hash(path: str) -> tuple[int, int]:
    """Two independent stable numbers in [0, 2**63) for a relative path."""
    digest = hashlib.blake2b(os.fsencode(path), digest_size=16).digest()
    first, second = digest[:8], digest[8:]
    return int.from_bytes(first, "big") >> 1, int.from_bytes(second, "big") >> 1


class Tree:
    """The image files below a directory.

    Args:
      root: The directory.
      index_dir: Where its index is; None: no index.
      rebuild: List everything, whatever the index says.
      worth: Number of images from which an index is kept.

    Attributes:
      directories: All that were entered, the root first.
      hashes: int64 `[n, 2]`, `path_hash` of every image's path below the root, in the
        order of the directories and of the names in them.
    """

    def __init__(
        self,
        root: str,
        *,
        index_dir: str | None = None,
        rebuild: bool = False,
        worth: int = WORTH,
    ):
        self.root = root
        full = root if is_remote(root) else os.path.realpath(root)
        file = index_file.place(index_dir, _KIND, full) if index_dir else ""
        arrays = index_file.read(file) if file and not rebuild else None
        known = _unpack(arrays, file) if arrays else {}
        if known and is_remote(root):
            self.directories = [directory for directory, _ in known.values()]
            self._say_age(arrays, file)
        else:
            listed = {inside: directory for inside, (directory, _) in known.items()}
            self.directories = list(walk(root, listed))
        hashes = []
        for directory in self.directories:
            old, numbers = known.get(directory.inside, (None, None))
            hashes.append(numbers if old is directory else _hashes(directory))
        self.hashes = np.concatenate(hashes) if hashes else np.zeros([0, 2], np.int64)
        same = len(known) == len(self.directories) and all(
            known.get(d.inside, (None,))[0] is d for d in self.directories
        )
        if file and not same and len(self.hashes) >= worth:
            index_file.write(file, _pack(self.directories, self.hashes))

    def tally(self, inside: str) -> Tally:
        """What was passed over below a folder of the tree ("" or ending in /)."""
        total = Tally()
        for directory in self.directories:
            if f"{directory.inside}/".startswith(inside):
                total.add(directory.tally)
        return total

    def _say_age(self, arrays: index_file.Arrays, file: str) -> None:
        when = datetime.datetime.fromtimestamp(int(arrays["made"]))
        _LOG.warning(
            "the list of %s is of %s (%s); rebuild_index=True makes a new one",
            self.root, when.strftime("%Y-%m-%d %H:%M"), file,
        )  # fmt: skip


def _hashes(directory: Directory) -> np.ndarray:
    pairs = [path_hash(directory.path(name)) for name in directory.images]
    return np.array(pairs, np.int64).reshape(-1, 2)


def _pack(directories: list[Directory], hashes: np.ndarray) -> index_file.Arrays:
    rows = [
        [
            d.inside, d.signature, len(d.images), d.folders, d.links,
            d.tally.hidden, d.tally.other, d.tally.loops, d.tally.unreadable,
        ]
        for d in directories
    ]  # fmt: skip
    # A name cannot hold a slash, so slashes stand between names.
    names = "/".join(name for d in directories for name in d.images)
    return {
        "directories": np.frombuffer(json.dumps(rows).encode(), np.uint8),
        "names": np.frombuffer(os.fsencode(names), np.uint8),
        "hashes": hashes,
        "made": np.array(int(time.time())),
    }


def _unpack(
    arrays: index_file.Arrays, file: str
) -> dict[str, tuple[Directory, np.ndarray]]:
    """`inside` to directory and hashes; nothing where the parts do not fit."""
    try:
        rows = json.loads(arrays["directories"].tobytes())
        text = os.fsdecode(arrays["names"].tobytes())
        names = text.split("/") if text else []
        hashes = arrays["hashes"]
        counts = [row[2] for row in rows]
        if not (sum(counts) == len(names) == len(hashes) and int(arrays["made"])):
            raise ValueError("parts of different lengths")
    except (KeyError, ValueError, IndexError, TypeError) as error:
        _LOG.warning("index %s is damaged (%s); made again", file, error)
        return {}
    known, start = {}, 0
    for inside, signature, count, folders, links, *tally in rows:
        stop = start + count
        directory = Directory(
            inside, signature, names[start:stop], folders, links, Tally(*tally)
        )
        known[inside] = directory, hashes[start:stop]
        start = stop
    return known
