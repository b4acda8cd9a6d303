"""The table of data sets: `--dataset=KIND` or `KIND:ARGUMENT`.

Checks, training and scores of one command open the same data, each for itself, and a
table of trainings many times. Annotations, which may take minutes, are read once.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from tfssl.config import tables
from tfssl.config.dataset_name import annotated_folder
from tfssl.data.encoded import Encoded
from tfssl.data.labelled import labelled_part
from tfssl.data.memory import BUDGET, in_memory
from tfssl.data.scan import tree_stamp
from tfssl.data.source import Source, SourceOptions
from tfssl.data.splits import parse_split
from tfssl.errors import DataError, message

MOST_KEPT = 6
"""Sources with annotations that a process keeps, the newest."""

_kept: dict[tuple[str, str, SourceOptions], tuple[bytes, Source]] = {}


def open_source(
    spec: str,
    split: str,
    *,
    memory: int = BUDGET,
    label_fraction: str = "",
    seed: int = 0,
    **options: Any,
) -> Source:
    """Opens one split of a data set.

    Args:
      spec: `KIND` or `KIND:ARGUMENT`, a kind of `tables.DATASETS`.
      split: `NAME` or `NAME[START:STOP]`, see `parse_split`.
      memory: Bytes that decoded images of one common size may take; they are then
        decoded once, now. 0: never, and pictures are drawn when they are asked for.
      label_fraction: Only these examples, see `labelled_part`; empty: all, labelled or
        not.
      seed: Of that draw; nothing else here depends on it.
      **options: Fields of `SourceOptions`; `image_size` is needed.

    Raises:
      DataError: Unknown kind or split, nothing found, or an empty slice.
    """
    kind, _, argument = spec.partition(":")
    opener = tables.find(tables.DATASETS, "dataset", kind, DataError)
    how = SourceOptions(keep=memory > 0, **options)
    if how.targets:
        memory = 0  # what is decoded there has no other targets than a label
        if kind not in (having := tables.TARGETS[how.targets]):
            raise DataError(
                message(
                    f"dataset={spec}, whose images have no {how.targets}",
                    f"a data set of {', '.join(having)}",
                    f"dataset={having[-1]}:…",
                )
            )
    folder = annotated_folder(spec, how.data_dir, how.targets)
    stamp = tree_stamp(folder) if folder and not how.rebuild_index else b""
    # What is about drawn pictures changes nothing; some kinds always have boxes.
    what = dataclasses.replace(how, image_size=0, keep=False)
    if kind in ("coco", "voc", "yolo"):
        what = dataclasses.replace(what, targets="")
    before, source = _kept.pop((spec, split, what), (b"", None))
    if source is None or before != stamp:
        source = opener(argument, parse_split(split), how)
    if stamp:
        _kept[spec, split, what] = stamp, source
        for oldest in [*_kept][:-MOST_KEPT]:
            del _kept[oldest]
    if isinstance(source, Encoded):
        source.orient = how.orient
    if label_fraction:
        source = labelled_part(source, label_fraction, seed)
    return in_memory(source, budget=memory)
