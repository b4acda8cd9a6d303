"""`folder:DIR`: any directory tree of images; class folders give labels.

Splits. Folders of DIR called `train`, `val`, `test` or otherwise as splits are called
(`Training`, `valid`, `TEST_SET`: see `dataset_name.SPELLINGS`), in any case, are the
splits if one of them is for training and either another is held out, or it holds class
folders, or nothing but it holds images. Otherwise folders of such names are classes:
`train` beside `bus` and `car` is. Any other folder of DIR can be named as a split too.
Without splits a tenth of the files is held out: those whose relative path has a hash
divisible by 10, so that files added later move no other file. `all` means every file.

Classes are the folders below the training split. A held-out folder of another name is
a class that training does not know: its images are named, counted and not scored.
Names are compared in Unicode's normal form C.

Order. Examples are ordered by the hash of their relative path, which mixes classes:
`train[:1000]` is a fair sample. The same hash is the example's `id`.

`folder:A,B` is one data set of several trees, each with splits of its own; classes of
one name are one class. The ids of the first tree are those that it has alone.
"""

from __future__ import annotations

import functools
import os
import unicodedata
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from tfssl.config import dataset_name
from tfssl.config.remote import cache_directory, is_remote
from tfssl.data.files import Files
from tfssl.data.formats import MAX_PIXELS
from tfssl.data.scan import EXTENSIONS, FOREIGN, Tally
from tfssl.data.source import Reading, SourceOptions
from tfssl.data.splits import Split, held_out_tenth, nothing_held_out
from tfssl.data.tree import WORTH, Tree, path_hash
from tfssl.errors import DataError, message, unknown


class Folder(Files):
    """The image files below one or several directories; see the module.

    With fewer than two classes there are no labels.

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
        self.reading = Reading(
            held_out="; ".join(dict.fromkeys(part.held_out for part in parts)),
            passed_over=self.tally.other,
            leftovers=self.tally.hidden,
            notes=tuple(dict.fromkeys(n for part in parts for n in part.notes))
            + _asides(names, self.tally),
        )
        hashes = np.concatenate([part.hashes for part in parts])
        found = sum(part.found for part in parts)
        if found and not len(hashes):
            raise DataError(nothing_held_out(parts[0].place, found))
        if not len(hashes):
            raise DataError(
                message(
                    f"{', '.join(part.place for part in parts)} with "
                    f"0 images for split {split.name}, {self.tally}",
                    "images: " + " ".join(EXTENSIONS),
                    _instead(self.tally),
                )
            )
        paths = [path for part in parts for path in part.paths]
        start, stop = split.bounds(len(paths))
        order = np.lexsort((hashes[:, 1], hashes[:, 0]))[start:stop]
        tops = np.concatenate([part.tops() for part in parts])[order]
        super().__init__(
            f"folder:{','.join(directories)}/{split.text}",
            [paths[place] for place in order],
            hashes[order, 0],
            tops,
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
        layout = _Layout(tree)
        inside, keep = layout.locate(split)
        self.held_out, self.notes = layout.held_out(), layout.notes
        self._tree, self._roots = tree, layout.label_roots(inside)
        named = layout.label_roots("" if split == "all" else layout.training)
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
            top
            for root in named
            for d in tree.directories
            if d.images and (top := _top(d.inside, root))
        }

    def tops(self) -> np.ndarray:
        """Object `[paths]`: the first folder below a root, in form C; "" for none."""
        each = [
            next((top for root in self._roots if (top := _top(d.inside, root))), "")
            for d in self._tree.directories
        ]
        return np.repeat(np.array(each, object), self._counts)[self._wanted]


def _top(inside: str, root: str) -> str:
    """The first folder below a root ("" or ending in /), in Unicode's form C."""
    if not f"{inside}/".startswith(root):
        return ""
    return unicodedata.normalize("NFC", inside[len(root) :].split("/")[0])


class _Layout:
    """What the folders directly below a tree's root are: splits or classes.

    Attributes:
      training: The training split's folder, ending in /; "" where all is one pool.
      notes: What was decided, one sentence each.
    """

    def __init__(self, tree: Tree):
        root = tree.directories[0]
        self._names = {*root.folders, *root.links}
        self._root = tree.root
        self.notes: tuple[str, ...] = ()
        inner = _splits_inside(tree)
        if len(inner) == 1:
            self._refuse_wrapping(tree, *inner)
        filled = {_top(d.inside, "") for d in tree.directories if d.images} - {""}
        deep = {_top(d.inside, "") for d in tree.directories
                if d.images and "/" in d.inside}  # fmt: skip
        self._splits: dict[str, list[str]] = {}
        for name in sorted(self._names):
            if dataset_name.role(name):
                self._splits.setdefault(dataset_name.role(name), []).append(name)
        train = self._splits.get("train", [])
        others = filled - {n for names in self._splits.values() for n in names}
        if train and not (len(self._splits) > 1 or set(train) & deep or not others):
            self.notes = (f"{', '.join(train)} is a class beside {_few(others)}",)
            train = []
        if not train:
            named = sorted(n for names in self._splits.values() for n in names)
            if named and not self.notes:
                why = "is a class, since there is no folder to train on"
                self.notes = (f"{', '.join(named)} {why}",)
            self._splits = {}
        self.training = f"{self._only('train')}/" if train else ""
        others = others if len(self._splits) > 1 else set()
        for one, names in self._splits.items():
            others |= {*names} - {chosen} if (chosen := self._chosen(one)) else set()
        if others and train:
            self.notes = (f"not read, neither training nor held out: {_few(others)}",)
        if inner and not train:
            self.notes += (
                f"{_few(set(inner))} hold folders called as splits, whose images are "
                "read as one; a list, or folder:A,B, keeps them apart",
            )

    def locate(self, split: str) -> tuple[str, Callable[[np.ndarray], np.ndarray]]:
        """The folder of a split ("" or ending in /), and which hashes belong to it."""

        def everything(hashes: np.ndarray) -> np.ndarray:
            return np.ones(len(hashes), bool)

        if split == "all":
            return "", everything
        asked = dataset_name.roles(split)
        exact = split in self._names and (split in self._of(asked) or not asked)
        if exact:
            return f"{split}/", everything
        held_out = self._of(("test", "validation"))
        if asked == ("train",):
            self._only("train")
            whole = self.training and held_out
            return self.training, everything if whole else _not_tenth
        if asked and not held_out:
            return self.training, held_out_tenth
        for one in asked:
            if one in self._splits:
                return f"{self._only(one)}/", everything
        if split in self._names:
            return f"{split}/", everything
        raise DataError(unknown("split", split, ["train", "all", *self._names]))

    def _refuse_wrapping(self, tree: Tree, top: str) -> None:
        """Refuses a folder around the data set, as archives unpack.

        Raises:
          DataError: The one folder that holds images holds the splits.
        """
        if {_top(d.inside, "") for d in tree.directories if d.images} == {top}:
            raise DataError(
                message(
                    f"folder:{self._root}, whose one folder {top} holds the splits",
                    "the folder of the splits",
                    f"dataset=folder:{os.path.join(self._root, top)}",
                )
            )

    def _of(self, asked: Sequence[str]) -> list[str]:
        return [name for one in asked for name in self._splits.get(one, [])]

    def _only(self, one: str) -> str:
        """The folder of a split, or ""; the one that is spelled as such counts."""
        names, name = self._splits.get(one, []), self._chosen(one)
        if name or not names:
            return name
        raise DataError(
            message(
                f"{', '.join(names)} in {self._root}",
                f"one folder for the split {one}",
                f"renaming one of them to {one}"
                + (f", or eval_split={names[0]}" if one != "train" else ""),
            )
        )

    def _chosen(self, one: str) -> str:
        """The folder of a split, "" where several might be."""
        names = self._splits.get(one, [])
        return one if one in names else names[0] if len(names) == 1 else ""

    def label_roots(self, inside: str) -> list[str]:
        """The folders (ending in /, or "") whose subfolders are the classes."""
        if not self.training or inside:
            return [inside]
        held_out = self._of(("test", "validation"))
        return [self.training, *(f"{name}/" for name in held_out)]

    def held_out(self) -> str:
        """Where held-out images come from, in words."""
        names = self._of(("test", "validation"))
        if self.training and names:
            return ", ".join(names)
        where = f" of {self.training}" if self.training else ""
        return f"a tenth of the files{where}, by a hash of their paths"


def _splits_inside(tree: Tree) -> list[str]:
    """The folders below the root that hold folders of images for both purposes."""
    found: dict[str, set[str]] = {}
    for directory in tree.directories:
        top, _, rest = directory.inside.partition("/")
        if directory.images and rest and not dataset_name.role(top):
            one = dataset_name.role(rest.split("/")[0])
            found.setdefault(top, set()).add(one)
    return sorted(top for top, ones in found.items() if len(ones - {""}) > 1
                  and "train" in ones)  # fmt: skip


def _not_tenth(hashes: np.ndarray) -> np.ndarray:
    return ~held_out_tenth(hashes)


def _instead(tally: Tally) -> str:
    """What to try where a folder holds no image that is read."""
    foreign = [kind for kind in FOREIGN if kind in tally.other]
    if foreign:
        return f"converting the {foreign[0]} files to JPEG or PNG"
    if tally.other.get(""):
        return "dataset=list:FILE, a text file that names the files without extension"
    return "another directory or split"


def _asides(classes: Sequence[str], tally: Tally) -> tuple[str, ...]:
    """What else is to be said of a reading."""
    alone = f"one class alone, {classes[0]}, is no label" if len(classes) == 1 else ""
    links = f"{tally.loops} links to folders that were read already" * bool(tally.loops)
    return tuple(filter(None, (alone, links)))


def _few(names: set[str]) -> str:
    shown = sorted(names)
    more = f" and {len(shown) - 5} more" if len(shown) > 5 else ""
    return ", ".join(shown[:5]) + more


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
