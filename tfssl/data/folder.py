"""`folder:DIR`: any directory tree of images; class folders give labels.

Splits. Where `DIR/train` exists, `train` means it, and the held-out splits mean
`DIR/validation`, `DIR/val` or `DIR/test`; any other folder of DIR can be named too.
Without them a tenth of the files is held out: those whose relative path has a hash
divisible by 10, so that files added later move no other file. `all` means every file.

Order. Examples are ordered by the hash of their relative path, which mixes classes:
`train[:1000]` is a fair sample. The same hash is the example's `id`.

`folder:A,B` is one data set of several trees, each with splits of its own; classes of
one name are one class. The ids of the first tree are those that it has alone.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from tfssl.config import dataset_name
from tfssl.config.dataset_name import HELD_OUT
from tfssl.config.remote import cache_directory, is_remote
from tfssl.data.files import Files
from tfssl.data.header import MAX_PIXELS
from tfssl.data.scan import EXTENSIONS, Tally
from tfssl.data.source import SourceOptions
from tfssl.data.splits import Split, held_out_tenth
from tfssl.data.tree import WORTH, Tree, path_hash
from tfssl.errors import DataError, message, unknown


class Folder(Files):
    """The image files below one or several directories; see the module.

    The classes are the folders directly below the split's directory that hold images
    (those of the training split, so that a class keeps its number in every split). With
    fewer than two there are no labels.

    Args:
      directories: DIR, or several.
      split: `train`, `test`, `validation`, `all` or a folder's name, possibly sliced.
      index_dir: Where indexes of large trees are kept; None: nowhere.
      rebuild: List everything, whatever an index says.
      worth: Number of images from which a tree is indexed.
      max_pixels: See `Encoded`.

    Raises:
      DataError: No such directory or split, no images in it, or one tree twice.
    """

    def __init__(
        self,
        directories: str | Sequence[str],
        split: Split,
        *,
        index_dir: str | None = None,
        rebuild: bool = False,
        worth: int = WORTH,
        max_pixels: int = MAX_PIXELS,
    ):
        if isinstance(directories, str):
            directories = [directories]
        _check(directories)
        parts = [
            _Part(
                Tree(path, index_dir=index_dir, rebuild=rebuild, worth=worth),
                number,
                split.name,
            )
            for number, path in enumerate(directories)
        ]
        self.tally = Tally()
        for part in parts:
            self.tally.add(part.tally)
        names = sorted(set().union(*(part.classes for part in parts)))
        class_names = tuple(names) if len(names) > 1 else ()
        hashes = np.concatenate([part.hashes for part in parts])
        if not len(hashes):
            raise DataError(
                message(
                    f"{', '.join(part.place for part in parts)} with "
                    f"{sum(part.found for part in parts)} images for split "
                    f"{split.name}, {self.tally}",
                    "images: " + " ".join(EXTENSIONS),
                    "another directory or split",
                )
            )
        paths = [path for part in parts for path in part.paths]
        labels = np.concatenate([part.labels(class_names) for part in parts])
        start, stop = split.bounds(len(paths))
        order = np.lexsort((hashes[:, 1], hashes[:, 0]))[start:stop]
        super().__init__(
            f"folder:{','.join(directories)}/{split.text}",
            [paths[place] for place in order],
            hashes[order, 0],
            labels[order],
            class_names,
            max_pixels,
        )
        self._root = directories[0] + "/" if len(directories) == 1 else ""
        for path, reason in self.tally.unreadable.items():
            self._skips.add(path, reason)

    @functools.cached_property
    def paths(self) -> list[str]:
        """Every example's path, below DIR where there is one DIR."""
        paths = map(self.where, range(self.num_examples))
        return [path.removeprefix(self._root) for path in paths]


class _Part:
    """What one tree gives to a split.

    Attributes:
      place: The folder that the split means.
      found: Images below it, before a tenth is held out or taken.
      paths: Full paths of those that the split takes.
      hashes: int64 `[paths, 2]`; of several trees no two are equal.
      classes: Names of the class folders.
      tally: What was passed over there.
    """

    def __init__(self, tree: Tree, number: int, split: str):
        names = {*tree.directories[0].folders, *tree.directories[0].links}
        inside, keep = _locate(names, split)
        self._tree, self._roots = tree, _label_roots(names, inside)
        self.place = os.path.join(tree.root, inside)
        self.tally = tree.tally(inside)
        counts = np.array([len(d.images) for d in tree.directories])
        here = [f"{d.inside}/".startswith(inside) for d in tree.directories]
        wanted = np.repeat(np.array(here, bool), counts)
        self.found = int(wanted.sum())
        wanted &= keep(tree.hashes[:, 1])
        self._wanted, self._counts = wanted, counts
        salt = np.array(path_hash(f"//{number}") if number else (0, 0), np.int64)
        self.hashes = tree.hashes[wanted] ^ salt
        root = os.fsencode(tree.root if tree.root.endswith("/") else f"{tree.root}/")
        self.paths = []
        for directory in tree.directories:
            prefix = root + os.fsencode(directory.path(""))
            # One conversion for all names: a slash stands in none of them.
            names_there = os.fsencode("/".join(directory.images)).split(b"/")
            self.paths += [prefix + name for name in names_there if name]
        if not wanted.all():
            self.paths = [self.paths[i] for i in np.flatnonzero(wanted)]
        self.classes = {
            d.inside[len(root) :].split("/")[0]
            for root in self._roots
            for d in tree.directories
            if d.images and f"{d.inside}/".startswith(root) and d.inside + "/" != root
        } - {""}

    def labels(self, names: tuple[str, ...]) -> np.ndarray:
        """int64 `[paths]`: the number of the first folder below a root, else -1."""
        numbers = {f"{r}{name}": n for r in self._roots for n, name in enumerate(names)}
        depths = {root.count("/") + 1 for root in self._roots}

        def label(inside: str) -> int:
            parts = inside.split("/")
            tops = ["/".join(parts[:depth]) for depth in depths]
            return max((numbers.get(top, -1) for top in tops), default=-1)

        each = np.array([label(d.inside) for d in self._tree.directories], np.int64)
        return np.repeat(each, self._counts)[self._wanted]


def _locate(
    names: set[str], split: str
) -> tuple[str, Callable[[np.ndarray], np.ndarray]]:
    """The folder of a split ("" or ending in /), and which hashes belong to it."""

    def everything(hashes: np.ndarray) -> np.ndarray:
        return np.ones(len(hashes), bool)

    pool = "train/" if "train" in names else ""
    held_out = [f for f in HELD_OUT.get(split, HELD_OUT["test"]) if f in names]
    if split == "all":
        return "", everything
    if split == "train":
        whole = pool and held_out
        return pool, everything if whole else lambda h: ~held_out_tenth(h)
    if split in HELD_OUT and not (pool and held_out):
        return pool, held_out_tenth
    if split in HELD_OUT:
        return held_out[0] + "/", everything
    if split in names:
        return split + "/", everything
    raise DataError(unknown("split", split, ["train", "all", *HELD_OUT]))


def _label_roots(names: set[str], inside: str) -> list[str]:
    """The folders (ending in /, or "") whose subfolders are the classes."""
    if "train" not in names:
        return [inside]
    if inside:
        return sorted({"train/", inside})
    return ["train/", *(f"{f}/" for f in HELD_OUT["test"] if f in names)]


def _check(directories: Sequence[str]) -> None:
    for path in directories:
        if not (tf.io.gfile.isdir(path) if is_remote(path) else os.path.isdir(path)):
            raise DataError(
                message(f"folder:{path}", "a directory", "an existing path")
            )
    real = [p if is_remote(p) else os.path.realpath(p) for p in directories]
    for i, one in enumerate(real):
        for j, other in enumerate(real):
            if i != j and f"{other}/".startswith(f"{one}/"):
                raise DataError(
                    message(
                        f"folder:{directories[i]},{directories[j]}, one in the other",
                        "trees without a common image",
                        f"dataset=folder:{directories[i]}",
                    )
                )


def open_folder(argument: str, split: Split, options: SourceOptions) -> Folder:
    """Opens `folder:DIR` or `folder:A,B`.

    Raises:
      DataError: See `Folder`.
    """
    directories = dataset_name.folders(argument, options.data_dir)
    if not directories:
        raise DataError(
            message("dataset=folder:", "folder:DIR", "dataset=folder:photos")
        )
    return Folder(
        directories,
        split,
        index_dir=options.index_dir or cache_directory(),
        rebuild=options.rebuild_index,
        max_pixels=options.max_pixels,
    )
