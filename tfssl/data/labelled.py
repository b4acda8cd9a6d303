"""The part of a data set whose labels may be used: `--label_fraction`.

A share is drawn class by class: as equal numbers as the classes allow, by a hash of
(seed, id), so that the draw does not depend on the order of files or on the machine,
and the 1 % of a seed is a part of its 10 %. Published subsets are files of names: the
1 % and 10 % of ImageNet (google-research/simclr, imagenet_subsets/*.txt) hold lines
such as `n01440764_10043.JPEG`. A list as `list:` reads it will do as well.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Sequence

import numpy as np

from tfssl.data.file_list import read_list
from tfssl.data.source import Source
from tfssl.data.splits import mixed
from tfssl.data.subset import chosen, require_labels
from tfssl.data.text_files import canonical
from tfssl.errors import DataError, message, printable

_LOG = logging.getLogger(__name__)


def labelled_part(source: Source, fraction: str, seed: int) -> Source:
    """The examples whose labels may be used.

    Args:
      source: All training images, labelled.
      fraction: As text: a share in (0, 1], a whole number above 1 of images a class,
        or a file with a name or path a line.
      seed: Of the draw.

    Returns:
      A part in the source's order: labelled images only. `source` itself where that is
      all of it, and where nothing is labelled.

    Raises:
      DataError: No labels, a share that leaves a class empty, or a file none of whose
        names is in the source.
    """
    try:
        share = float(fraction)
    except ValueError:
        return chosen(source, _listed(source, fraction), f"those in {fraction}")
    if share == 1:
        labelled = np.flatnonzero(source.labels >= 0)
        if len(labelled) in (0, source.num_examples):
            return source
        return chosen(source, labelled, f"{len(labelled)} labelled images")
    require_labels(source, f"label_fraction={fraction}")
    places = balanced(source.labels, source.ids, share, seed)
    return chosen(source, places, f"label fraction {fraction}")


def balanced(
    labels: np.ndarray, ids: np.ndarray, share: float, seed: int
) -> np.ndarray:
    """Chooses a share of the labelled examples, spread equally over the classes.

    A class with too few images gives all it has, and the others make up for it.

    Args:
      labels: int64 `[n]`; negative ones are never chosen.
      ids: int64 `[n]`, distinct.
      share: In (0, 1]; above 1, how many of each class.
      seed: Of the draw.

    Returns:
      Indices `[round(share * labelled)]`, ascending; or at most `share` of each class.

    Raises:
      DataError: A class would get no image.
    """
    labelled = np.flatnonzero(labels >= 0)
    classes, of = np.unique(labels[labelled], return_inverse=True)
    available = np.bincount(of)
    counts = np.minimum(available, int(share))
    total = round(share * len(labelled))
    if total < len(classes):
        least = len(classes) / len(labelled)
        digits = 4  # as many as it takes for the advice to be enough
        while round(float(f"{least:.{digits}g}") * len(labelled)) < len(classes):
            digits += 1
        raise DataError(
            message(
                f"label_fraction={share:g}, {total} of {len(labelled)} images for "
                f"{len(classes)} classes",
                "at least one image of each class",
                f"label_fraction={least:.{digits}g} or more",
            )
        )
    if share <= 1:
        counts = _equal_counts(available, total)
    order = np.lexsort((mixed(ids[labelled], seed), of))
    starts = np.concatenate([[0], np.cumsum(available)[:-1]])
    rank = np.arange(len(order)) - starts[of[order]]
    return np.sort(labelled[order[rank < counts[of[order]]]])


def _equal_counts(available: np.ndarray, total: int) -> np.ndarray:
    """As equal as possible, none above `available`, `total` together."""
    counts = np.zeros_like(available)
    for done, number in enumerate(np.argsort(available, kind="stable")):
        counts[number] = min(available[number], total // (len(available) - done))
        total -= counts[number]
    return counts


def _listed(source: Source, file: str) -> np.ndarray:
    """Indices of the examples that a list names."""
    where = [source.where(i) for i in range(source.num_examples)]
    return named_places(where, file, f"label_fraction={file}", source.name)


def named_places(where: Sequence[str], file: str, flag: str, source: str) -> np.ndarray:
    """Indices of the places that a list names, see `read_list`.

    A name without a slash is that of a file, whatever its folder; one with slashes is
    the end of a path, or what `Source.where` says of an example without a file.

    Args:
      where: What `Source.where` says of each example.
      file: The list, also as `list:FILE`.
      flag: That named it, for messages.
      source: What the examples are of, for messages.

    Raises:
      DataError: The list names none of them.
    """
    listed = read_list(file.removeprefix("list:"))
    names = {canonical(_slashed(name)) for name in listed}
    found = np.flatnonzero([is_named(place, names) for place in where])
    if not len(found):
        raise DataError(
            message(
                f"none of the {len(names)} names of {flag} in {source}",
                f"names of its examples, such as {printable(where[0])}",
                "another file"
                + (", or a share such as label_fraction=0.1" * ("fraction" in flag)),
            )
        )
    if len(found) != len(names):
        _LOG.warning(
            "%d examples of %s have one of the %d names in %s",
            len(found), source, len(names), file,
        )  # fmt: skip
    return found


def _slashed(name: str) -> str:
    """A name as a list's paths are read: Windows separates by the other slash."""
    if "\\" in name and "/" not in name:
        name = name.replace("\\", "/")
    return name.removeprefix("./")


def is_named(where: str, names: Collection[str]) -> bool:
    """Tells whether names hold what `Source.where` says, or the end of its path."""
    path = canonical(where if "://" in where else os.path.abspath(where))
    parts = path.split("/")
    ends = ("/".join(parts[start:]) for start in range(len(parts)))
    return canonical(where) in names or any(end in names for end in ends)
