"""The table of data sets: `--dataset=KIND` or `KIND:ARGUMENT`."""

from __future__ import annotations

from typing import Any

from tfssl.config import tables
from tfssl.data.encoded import Encoded
from tfssl.data.labelled import labelled_part
from tfssl.data.memory import BUDGET, in_memory
from tfssl.data.source import Source, SourceOptions
from tfssl.data.splits import parse_split
from tfssl.errors import DataError, message


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
    source = opener(argument, parse_split(split), how)
    if isinstance(source, Encoded):
        source.orient = how.orient
    if label_fraction:
        source = labelled_part(source, label_fraction, seed)
    return in_memory(source, budget=memory)
