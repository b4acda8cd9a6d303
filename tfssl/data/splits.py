"""Reads split names such as `train[:1000]`, `train[10%:]`, `test[-50%:]`.

The notation is that of TensorFlow Datasets, for every source; percentages may have
decimals (`train[:0.5%]`). A slice is cut from the source's own fixed order, so equal
text always means equal examples.
"""

from __future__ import annotations

import dataclasses
import re

import numpy as np

from tfssl.errors import DataError, message

_SPLIT = re.compile(r"\s*([\w.-]+)\s*(?:\[\s*([^:\[\]]*?)\s*:\s*([^:\[\]]*?)\s*\])?\s*")
_EDGE = re.compile(r"(-?)(\d+(?:\.\d+)?)(%?)")
_TRY = "train, train[:1000], train[10%:] or test[-50%:]"


def held_out_tenth(hashes: np.ndarray) -> np.ndarray:
    """Which examples are held out where a data set has no held-out split.

    Args:
      hashes: int64 `[n]`, stable numbers of the examples.

    Returns:
      bool `[n]`: the same for an example whatever else there is.
    """
    return hashes % 10 == 0


def nothing_held_out(place: str, images: int) -> str:
    """What to say where a tenth of a few images is none, or all of them."""
    return message(
        f"{images} images in {place}, which a hash does not divide into nine tenths "
        "to train on and one to hold out",
        "images on both sides",
        "eval_split=all with train_split=all, or more images",
    )


def mixed(ids: np.ndarray, seed: int) -> np.ndarray:
    """Pseudo-random uint64 of (id, seed): the finaliser of SplitMix64 (Steele 2014)."""
    with np.errstate(over="ignore"):
        x = ids.astype(np.uint64) + np.uint64(seed + 1) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


@dataclasses.dataclass(frozen=True)
class Split:
    """A parsed split.

    Attributes:
      text: What was written.
      name: What stands before the bracket.
      start: Left edge as written; empty: the beginning.
      stop: Right edge as written; empty: the end.
    """

    text: str
    name: str
    start: str = ""
    stop: str = ""

    def bounds(self, total: int) -> tuple[int, int]:
        """The slice of a split that holds `total` examples.

        Percentages round to the nearest example; negative edges count from the end.

        Returns:
          `(start, stop)` with 0 <= start < stop <= total.

        Raises:
          DataError: An edge beyond the split, or nothing between the edges.
        """
        start = self._edge(self.start, total) if self.start else 0
        stop = self._edge(self.stop, total) if self.stop else total
        if start >= stop:
            raise DataError(
                message(
                    f"{self.text} = examples {start} to {stop} of {total}",
                    "at least one example",
                    "a wider slice",
                )
            )
        return start, stop

    def _edge(self, text: str, total: int) -> int:
        match = _EDGE.fullmatch(text)
        if match is None:
            wrong = f"{text!r} in split {self.text!r}"
            raise DataError(message(wrong, "NAME[START:STOP]", _TRY))
        sign, number, percent = match.groups()
        value = round(float(number) * total / 100) if percent else int(number)
        if value > total:
            raise DataError(
                message(
                    f"{self.text}",
                    f"edges within the {total} examples of {self.name}",
                    f"{self.name}[:{total}] or percentages such as {self.name}[:10%]",
                )
            )
        return total - value if sign else value


def parse_split(text: str) -> Split:
    """Parses a split.

    Args:
      text: `NAME`, or `NAME[START:STOP]` where each edge is empty, a number of
        examples or a percentage, and negative edges count from the end.

    Raises:
      DataError: Text of another form.
    """
    match = _SPLIT.fullmatch(text)
    if match is None:
        raise DataError(message(f"split {text!r}", "NAME or NAME[START:STOP]", _TRY))
    name, *edges = match.groups()
    for edge in filter(None, edges):
        parts = _EDGE.fullmatch(edge)
        percent = parts is not None and parts[3] and float(parts[2]) <= 100
        whole = parts is not None and not parts[3] and "." not in parts[2]
        if not percent and not whole:
            raise DataError(
                message(
                    f"{edge!r} in split {text!r}",
                    "a whole number of examples or a percentage of at most 100",
                    _TRY,
                )
            )
    return Split(text.strip(), name, *(edge or "" for edge in edges))
