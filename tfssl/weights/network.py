"""What a foreign file was found to hold."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from tfssl.config.encoder_name import EncoderSpec
from tfssl.errors import CheckpointError, message
from tfssl.models.families import Family
from tfssl.weights.match import Matched
from tfssl.weights.tensors import Tensors

CLASSIFIER = "probe/head_supervised_layer0_dense"
"""A file's linear classifier becomes the online probe of `tfssl.methods`."""


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


@dataclasses.dataclass(frozen=True)
class Foreign:
    """A foreign file, opened and understood.

    Attributes:
      network: What is in it.
      matched: Its tensors and ours.
      form: What kind of file it is, for the record.
      files: The files that were read.
      step: Updates made, 0 where the file does not say.
      notes: What a user should know.
      facts: What else the file says about itself.
    """

    network: Network
    matched: Matched
    form: str
    files: list[Path]
    step: int
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
                "another kind in --source=KIND:PATH",
            )
        )


def norm_leaves(family: Family) -> tuple[str, ...]:
    """Our variables of one batch norm of a family."""
    leaves = ("gamma", "beta", "moving_mean", "moving_variance")
    return (*leaves, "counter") if family.zero_debias else leaves


def read_number(found: Tensors, *names: str) -> int | None:
    """The value of the first of some scalars that a file has."""
    for name in names:
        if name in found and not found[name].shape:
            return int(found[name].read())
    return None
