"""Cuts validation images out of training images, class by class."""

from __future__ import annotations

import numpy as np

from tfssl.data.source import Several
from tfssl.data.splits import mixed
from tfssl.errors import DataError, message, printable


def validation_rows(
    labels: np.ndarray,
    ids: np.ndarray,
    count: int,
    class_names: tuple[str, ...],
    what: str,
) -> np.ndarray:
    """Chooses images to validate with, of each class in proportion, at least one.

    Which ones is a hash of their ids: the same on every machine, for every encoder.

    Args:
      labels: int64 `[n]`; images without a label (-1) are not chosen.
      ids: int64 `[n]`, distinct.
      count: How many; at least one a class are chosen.
      class_names: One a class.
      what: Names the data set in messages.

    Returns:
      bool `[n]`.

    Raises:
      DataError: A class has one image: it would be missing here or there.
    """
    labelled = np.flatnonzero(labels >= 0)
    classes, of = np.unique(labels[labelled], return_inverse=True)
    there = np.bincount(of)
    if (there < 2).any():
        short = [printable(class_names[c]) for c in classes[there < 2]]
        raise DataError(_too_few(what, short))
    share = min(1.0, count / max(len(labelled), 1)) * there
    wanted = np.clip(np.floor(share).astype(np.int64), 1, there - 1)
    # What is still wanting goes to the classes that rounding took most from.
    for place in np.argsort(wanted - share, kind="stable"):
        if wanted.sum() >= count:
            break
        wanted[place] += wanted[place] < there[place] - 1
    order = np.lexsort((mixed(ids[labelled], 0), of))
    starts = np.concatenate([[0], np.cumsum(there)[:-1]])
    rank = np.arange(len(order)) - starts[of[order]]
    chosen = np.zeros(len(labels), bool)
    chosen[labelled[order[rank < wanted[of[order]]]]] = True
    return chosen


def validation_rows_of_several(
    several: Several, ids: np.ndarray, count: int, what: str
) -> np.ndarray:
    """Chooses images with several labels to validate with, by a hash of their ids.

    Args:
      several: Labels of n images.
      ids: int64 `[n]`, distinct.
      count: How many.
      what: Names the data set in messages.

    Returns:
      bool `[n]`.

    Raises:
      DataError: A class is missing here or there.
    """
    chosen = np.zeros(len(ids), bool)
    chosen[np.argsort(mixed(ids, 0), kind="stable")[:count]] = True
    has = several.targets == 1
    lost = ~has[chosen].any(axis=0) | ~has[~chosen].any(axis=0)
    if lost.any():
        names = [printable(several.class_names[c]) for c in np.flatnonzero(lost)]
        raise DataError(_too_few(what, names))
    return chosen


def shots(labels: np.ndarray, ids: np.ndarray, count: int, draw: int) -> np.ndarray:
    """Chooses `count` images of each class: int64 indices, ascending.

    Args:
      labels: int64 `[n]`; negative ones are not chosen.
      ids: int64 `[n]`, distinct.
      count: Images of a class, at most as many as the smallest one has.
      draw: Number of the draw; each is another one.
    """
    labelled = np.flatnonzero(labels >= 0)
    _, of = np.unique(labels[labelled], return_inverse=True)
    order = np.lexsort((mixed(ids[labelled], draw + 1), of))
    starts = np.concatenate([[0], np.cumsum(np.bincount(of))[:-1]])
    rank = np.arange(len(order)) - starts[of[order]]
    return np.sort(labelled[order[rank < count]])


def _too_few(what: str, names: list[str]) -> str:
    shown = ", ".join(names[:10]) + (", …" if len(names) > 10 else "")
    return message(
        f"too few images of {shown} in {what}",
        "at least two of each class: one to train with, one to validate with",
        "more images, leaving such classes out, or a validation split of its own",
    )
