"""What a published file holds: its tensors, the network that they are, and their terms.

A `Tensor` knows its shape at once and reads its numbers when asked, so that a file is
understood whole before anything large is in memory.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfssl.config.encoder_name import EncoderSpec, parse_encoder
from tfssl.errors import CheckpointError, message
from tfssl.models.families import Family

CLASSIFIER = "probe/head_supervised_layer0_dense"
"""A file's linear classifier becomes the online probe of `tfssl.methods`."""


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
      official: The file's name.
      shape: The shape that the file's tensor must have.
      layout: Makes our array of the file's.
    """

    name: str
    official: str
    shape: tuple[int, ...]
    layout: Callable[[np.ndarray], np.ndarray] = lambda array: array


@dataclasses.dataclass(frozen=True)
class Matched:
    """A file in which every tensor is used or ignored for a reason.

    Attributes:
      pairs: What to read and how.
      ignored: Reason to the names that it concerns.
    """

    pairs: list[tuple[Wanted, Tensor]]
    ignored: dict[str, list[str]]

    def read(self) -> dict[str, tf.Tensor]:
        """Reads everything: our names to tensors of ours.

        Raises:
          CheckpointError: A tensor holds NaN or infinity.
        """
        tensors = {}
        while self.pairs:  # what is read is let go, so that one copy lives at a time
            row, tensor = self.pairs.pop()
            value = np.asarray(row.layout(_widened(tensor.read())), order="C")
            if value.dtype.kind == "f" and not np.isfinite(value).all():
                raise CheckpointError(
                    message(
                        f"NaN or infinity in {row.official}",
                        "finite weights",
                        "another copy of the file",
                    )
                )
            tensors[row.name] = tf.constant(value)
        return tensors


def _widened(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32) if array.dtype.itemsize == 2 else array


@dataclasses.dataclass(frozen=True)
class Network:
    """The architecture, as read off the tensors.

    Attributes:
      method: Whose heads these are: a value of `--method`.
      family: A value of `--encoder_family`.
      spec: Depth, width, selective kernels and stem.
      heads: Flag to value of `--projector_...`, `--predictor_hidden`, `--queue_size`;
        absent where the file has no such part.
    """

    method: str
    family: str
    spec: EncoderSpec
    heads: dict[str, int]

    def flags(self) -> dict[str, Any]:
        """Returns the flags of a run with it.

        Raises:
          CheckpointError: Its encoder is one that a name cannot say.
        """
        name = self.spec.name
        if parse_encoder(name) != self.spec:
            raise CheckpointError(
                message(
                    f"an encoder of width {self.spec.width!r}",
                    "a width that a name can say, such as 1, 2 or 0.25",
                    "a file of such a network",
                )
            )
        own = {"method": self.method, "encoder": name, "encoder_family": self.family}
        return own | self.heads

    @property
    def recipe(self) -> str:
        """Of views that such weights were made with; it decides the normalisation."""
        layers = self.heads.get("projector_layers")
        if self.spec.cifar:
            return f"{self.method}_cifar"
        if self.method == "moco":
            return "moco_v1" if layers == 1 else "moco_v2"
        return "simclr_v1" if (self.method, layers) == ("simclr", 2) else self.method


class Licence(NamedTuple):
    """Terms of the published files of one kind; a file of one's own keeps one's own.

    Attributes:
      weights: Licence of the weights.
      origin: Whose they are.
      asks: What it asks of whoever passes them on, in one sentence.
      url: Its text.
    """

    weights: str
    origin: str
    asks: str
    url: str


@dataclasses.dataclass(frozen=True)
class Published:
    """A file of another program, opened and understood.

    Attributes:
      network: What is in it.
      matched: Its tensors and ours.
      form: What kind of file it is, for the record.
      files: The files that were read.
      licence: Terms of the published files of this kind.
      step: Updates made, 0 where the file does not say.
      notes: What a user should know.
      facts: What else the file says about itself.
    """

    network: Network
    matched: Matched
    form: str
    files: list[Path]
    licence: Licence
    step: int = 0
    notes: list[str] = dataclasses.field(default_factory=list)
    facts: dict[str, object] = dataclasses.field(default_factory=dict)


class NotThis(CheckpointError):
    """A file of another kind than `--source` says."""

    def __init__(self, kind: str, missing: str, found: Tensors):
        names = ", ".join(sorted(found)[:3]) or "nothing"
        super().__init__(
            message(
                f"{len(found)} tensors without {missing}, such as {names}",
                f"{kind}, which has one",
                "another kind in source=KIND:PATH",
            )
        )


def norm_leaves(family: Family) -> tuple[str, ...]:
    """Returns our variables of one batch norm of a family."""
    leaves = ("gamma", "beta", "moving_mean", "moving_variance")
    return (*leaves, "counter") if family.zero_debias else leaves
