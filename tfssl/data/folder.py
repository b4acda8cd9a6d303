"""`folder:DIR`: any directory tree of images; class folders give labels.

Splits. Where `DIR/train` exists, `train` means it, and the held-out splits mean
`DIR/validation`, `DIR/val` or `DIR/test`; any other folder of DIR can be named too.
Without them a tenth of the files is held out: those whose relative path has a hash
divisible by 10, so that files added later move no other file. `all` means every file.

Order. Examples are ordered by the hash of their relative path, which mixes classes:
`train[:1000]` is a fair sample. The same hash is the example's `id`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfssl.augment import geometry
from tfssl.data.scan import EXTENSIONS, Tally, find_images
from tfssl.data.source import SkipList, first_line
from tfssl.data.splits import Split
from tfssl.errors import DataError, message, unknown

# Which folders a split may mean, the first that exists; the order in which they are
# tried when the one of the same name is missing.
_HELD_OUT = {
    "validation": ("validation", "val", "test"),
    "val": ("val", "validation", "test"),
    "test": ("test", "validation", "val"),
}


def path_hash(path: str) -> tuple[int, int]:
    """Two independent stable numbers in [0, 2**63) for a relative path."""
    digest = hashlib.blake2b(os.fsencode(path), digest_size=16).digest()
    first, second = digest[:8], digest[8:]
    return int.from_bytes(first, "big") >> 1, int.from_bytes(second, "big") >> 1


class Folder:
    """The image files below a directory; see the module for splits and order.

    The classes are the folders directly below the split's directory that hold images
    (those of the training split, so that a class keeps its number in every split). With
    fewer than two there are no labels.

    Args:
      directory: DIR.
      split: `train`, `test`, `validation`, `all` or a folder's name, possibly sliced.

    Raises:
      DataError: No such directory or split, or no images in it.
    """

    may_fail = True

    def __init__(self, directory: str, split: Split):
        if not os.path.isdir(directory):
            raise DataError(
                message(f"folder:{directory}", "a directory", "an existing path")
            )
        self.tally = Tally()
        inside, keep = _locate(directory, split.name)
        root = os.path.join(directory, inside)
        # Hashes are of the path below DIR: two splits never share an id.
        found = [inside + path for path in find_images(root, self.tally)]
        hashed = sorted((path_hash(path), path) for path in found)
        kept = [(first, path) for (first, second), path in hashed if keep(second)]
        if not kept:
            raise DataError(
                message(
                    f"{root} with {len(found)} images for split {split.name}, "
                    f"{self.tally}",
                    "images: " + " ".join(EXTENSIONS),
                    "another directory or split",
                )
            )
        start, stop = split.bounds(len(kept))
        kept = kept[start:stop]
        self.name = f"folder:{directory}/{split.text}"
        self.num_examples = len(kept)
        self.paths = [path for _, path in kept]
        self._directory = directory
        roots = _label_roots(directory, inside)
        names = sorted(set().union(*(_classes(directory, root) for root in roots)))
        self.class_names = tuple(names) if len(names) > 1 else ()
        self.num_classes = len(self.class_names) or None
        self.labels = _labels(self.paths, roots, self.class_names)
        self._skips = SkipList()
        for path, reason in self.tally.unreadable.items():
            self._skips.add(path, reason)
        # Text, numbers too, since TensorFlow keeps strings on the host everywhere.
        self._files = tf.constant(
            [os.fsencode(os.path.join(directory, path)) for path in self.paths]
        )
        self._labels = tf.constant([str(label) for label in self.labels.tolist()])
        self._ids = tf.constant([str(number) for number, _ in kept])

    def example(self, index: tf.Tensor) -> dict[str, tf.Tensor]:
        """See `Source.example`."""
        return {
            "image": geometry.decode(tf.io.read_file(self._files[index])),
            "label": tf.strings.to_number(self._labels[index], tf.int64),
            "id": tf.strings.to_number(self._ids[index], tf.int64),
        }

    def failed(self, index: int) -> str:
        """See `Source.failed`."""
        path = os.path.join(self._directory, self.paths[index])
        if path not in self._skips:
            self._skips.add(path, _reason(path))
        return self._skips.add(path, "")

    def skipped(self) -> list[dict[str, str]]:
        """See `Source.skipped`; includes what the scan could not enter."""
        return self._skips.listing()


def _locate(directory: str, name: str) -> tuple[str, Callable[[int], bool]]:
    """The folder of a split ("" or ending in /), and which hashes belong to it."""

    def exists(folder: str) -> bool:
        return os.path.isdir(os.path.join(directory, folder))

    def everything(_: int) -> bool:
        return True

    pool = "train/" if exists("train") else ""
    held_out = [f for f in _HELD_OUT.get(name, _HELD_OUT["test"]) if exists(f)]
    if name == "all":
        return "", everything
    if name == "train":
        return pool, everything if pool and held_out else lambda h: h % 10 != 0
    if name in _HELD_OUT and not (pool and held_out):
        return pool, lambda h: h % 10 == 0
    if name in _HELD_OUT:
        return held_out[0] + "/", everything
    if exists(name):
        return name + "/", everything
    raise DataError(unknown("split", name, ["train", "all", *_HELD_OUT]))


def _label_roots(directory: str, inside: str) -> list[str]:
    """The folders (ending in /, or "") whose subfolders are the classes."""
    if not os.path.isdir(os.path.join(directory, "train")):
        return [inside]
    if inside:
        return sorted({"train/", inside})
    others = [f + "/" for f in _HELD_OUT["test"]]
    return ["train/", *(f for f in others if os.path.isdir(os.path.join(directory, f)))]


def _classes(directory: str, root: str) -> set[str]:
    """The folders directly below a root that hold at least one image."""
    try:
        with os.scandir(os.path.join(directory, root)) as entries:
            folders = [e.path for e in entries if e.is_dir() and e.name[0] != "."]
    except OSError:
        return set()
    return {
        os.path.basename(folder)
        for folder in folders
        if next(find_images(folder), None) is not None
    }


def _labels(paths: list[str], roots: list[str], names: tuple[str, ...]) -> np.ndarray:
    """int64 `[paths]`: the number of the first folder below a root, else -1."""
    numbers = {f"{root}{name}": n for root in roots for n, name in enumerate(names)}
    depth = {root.count("/") + 1 for root in roots}

    def label(path: str) -> int:
        parts = path.split("/")[:-1]
        return max((numbers.get("/".join(parts[:d]), -1) for d in depth), default=-1)

    return np.array([label(path) for path in paths], np.int64)


def _reason(path: str) -> str:
    """Why a file cannot be read, in a few words."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        return error.strerror or str(error)
    if not data:
        return "empty file"
    try:
        geometry.decode(tf.constant(data))
    except (tf.errors.OpError, ValueError) as error:
        return f"not decodable, {len(data)} bytes: {first_line(error)}"
    return "readable now; it was not when it was asked for"


def open_folder(
    argument: str, split: Split, *, image_size: int, data_dir: str | None
) -> Folder:
    """Opens `folder:DIR`; a relative DIR is looked for below `data_dir`, if given.

    Raises:
      DataError: See `Folder`.
    """
    del image_size  # images keep their own size until they are cropped
    directory = os.path.expanduser(argument)
    if data_dir:
        directory = os.path.join(os.path.expanduser(data_dir), directory)
    if not directory:
        raise DataError(
            message("--dataset=folder:", "folder:DIR", "--dataset=folder:photos")
        )
    return Folder(os.path.normpath(directory), split)
