"""The part of a data set whose labels may be used: `--label_fraction`.

A share is drawn class by class: as equal numbers as the classes allow, by a hash of
(seed, id), so that the draw does not depend on the order of files or on the machine,
and the 1 % of a seed is a part of its 10 %. Published subsets are files of names: the
1 % and 10 % of ImageNet (google-research/simclr, imagenet_subsets/*.txt) hold lines
such as `n01440764_10043.JPEG`.
"""

from __future__ import annotations

import logging
import os

import numpy as np
import tensorflow as tf

from tfssl.data.host_table import Numbers
from tfssl.data.source import Source
from tfssl.data.splits import mixed
from tfssl.data.subset import Subset, require_labels
from tfssl.errors import DataError, message

_LOG = logging.getLogger(__name__)


def labelled_part(source: Source, fraction: str, seed: int) -> Source:
    """The examples whose labels may be used.

    Args:
      source: All training images, labelled.
      fraction: A share in (0, 1] as text, or a file with one file name a line.
      seed: Of the draw.

    Returns:
      `source` itself for the share 1, else a part in the source's order.

    Raises:
      DataError: No labels, a share that leaves a class empty, or a file none of whose
        names is in the source.
    """
    try:
        share = float(fraction)
    except ValueError:
        return _chosen(source, _listed(source, fraction), f"those in {fraction}")
    if share == 1:
        return source
    require_labels(source, f"--label_fraction={fraction}")
    places = balanced(source.labels, source.ids, share, seed)
    return _chosen(source, places, f"label fraction {fraction}")


def balanced(
    labels: np.ndarray, ids: np.ndarray, share: float, seed: int
) -> np.ndarray:
    """Chooses a share of the labelled examples, spread equally over the classes.

    A class with too few images gives all it has, and the others make up for it.

    Args:
      labels: int64 `[n]`; negative ones are never chosen.
      ids: int64 `[n]`, distinct.
      share: In (0, 1].
      seed: Of the draw.

    Returns:
      Indices `[round(share * labelled)]`, ascending.

    Raises:
      DataError: A class would get no image.
    """
    labelled = np.flatnonzero(labels >= 0)
    classes, of = np.unique(labels[labelled], return_inverse=True)
    available = np.bincount(of)
    total = round(share * len(labelled))
    if total < len(classes):
        raise DataError(
            message(
                f"--label_fraction={share:g}, {total} of {len(labelled)} images for "
                f"{len(classes)} classes",
                "at least one image of each class",
                f"--label_fraction={len(classes) / len(labelled):.4g} or more",
            )
        )
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
    """Indices of the examples whose file names stand in a file."""
    with tf.io.gfile.GFile(file, "r") as lines:
        names = {os.path.basename(line.strip()) for line in lines} - {""}
    if not hasattr(source, "file_names"):
        raise DataError(
            message(
                f"--label_fraction={file} for {source.name}, which has no file names",
                "a data set of files",
                "a share such as --label_fraction=0.1",
            )
        )
    places = np.flatnonzero([name in names for name in source.file_names()])
    if not len(places):
        raise DataError(
            message(
                f"none of the {len(names)} names of --label_fraction={file} in "
                f"{source.name}",
                "names of files of the training split, such as "
                f"{next(iter(source.file_names()))}",
                "another file",
            )
        )
    if len(places) != len(names):
        _LOG.warning(
            "%d examples of %s have one of the %d names in %s",
            len(places), source.name, len(names), file,
        )  # fmt: skip
    return places


def _chosen(source: Source, places: np.ndarray, what: str) -> Source:
    table = Numbers(places)

    def place(index: tf.Tensor | np.ndarray | int) -> tf.Tensor | np.ndarray:
        return table(index) if tf.is_tensor(index) else places[index]

    return Subset(source, len(places), place, what)
