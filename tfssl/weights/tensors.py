"""A tensor in a foreign file: its shape at once, its numbers when asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np


@dataclasses.dataclass(frozen=True)
class Tensor:
    """One tensor of a file.

    Attributes:
      shape: As stored.
      dtype: Its name, such as `"float32"`.
      read: Returns the numbers; called once, so that two copies never live long.
      key: What identifies it in the file; two names with one key are one tensor.
    """

    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], np.ndarray]
    key: str


Tensors = Mapping[str, Tensor]
"""Official name to tensor."""


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A tensor of ours and the one it comes from.

    Attributes:
      name: Ours in a checkpoint, for example `"online/encoder/stem_conv/kernel"`.
      official: The source's name.
      shape: The shape that the source's tensor must have.
      layout: Makes our array of the source's.
    """

    name: str
    official: str
    shape: tuple[int, ...]
    layout: Callable[[np.ndarray], np.ndarray]


def same(array: np.ndarray) -> np.ndarray:
    """The layout that changes nothing."""
    return array


def vector(array: np.ndarray) -> np.ndarray:
    """The layout of haiku's batch norm: `(1, 1, 1, C)` or `(1, C)` to `(C,)`."""
    return array.reshape(-1)


def float32(array: np.ndarray) -> np.ndarray:
    """The layout of a counter that is a float in our batch norm."""
    return array.astype(np.float32)
