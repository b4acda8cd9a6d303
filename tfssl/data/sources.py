"""The table of data sets: `--dataset=KIND` or `KIND:ARGUMENT`."""

from __future__ import annotations

from collections.abc import Callable

from tfssl.data.folder import open_folder
from tfssl.data.memory import BUDGET, in_memory
from tfssl.data.shapes import open_shapes
from tfssl.data.source import Source
from tfssl.data.splits import parse_split
from tfssl.data.tfds_source import open_tfds
from tfssl.errors import DataError, unknown

# name -> function(argument, split, *, image_size, data_dir) -> Source
SOURCES: dict[str, Callable[..., Source]] = {
    "shapes": open_shapes,
    "folder": open_folder,
    "tfds": open_tfds,
}


def open_source(
    spec: str,
    split: str,
    *,
    image_size: int,
    data_dir: str | None = None,
    seed: int = 0,
    memory: int = BUDGET,
) -> Source:
    """Opens one split of a data set.

    Args:
      spec: `shapes`, `shapes:N`, `folder:DIR` or `tfds:NAME`.
      split: `NAME` or `NAME[START:STOP]`, see `parse_split`.
      image_size: Side of the pictures that are drawn; files keep their own size.
      data_dir: Where relative folders, or prepared TFDS data sets, are.
      seed: The run's seed. None of the sources here depends on it: a split is the same
        in every run.
      memory: Bytes that decoded images of one common size may take; they are then
        decoded once, now. 0: never.

    Raises:
      DataError: Unknown kind or split, nothing found, or an empty slice.
    """
    del seed
    kind, _, argument = spec.partition(":")
    if kind not in SOURCES:
        raise DataError(unknown("--dataset", kind, SOURCES))
    source = SOURCES[kind](
        argument, parse_split(split), image_size=image_size, data_dir=data_dir or None
    )
    return in_memory(source, budget=memory)
