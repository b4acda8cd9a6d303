"""Where converted weights come from and what their licence asks for."""

from __future__ import annotations

import collections
import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tfssl.weights.network import Foreign


class Licence(NamedTuple):
    """Terms of the published files of one kind.

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


LICENCES = {
    "simclr": Licence(
        "Apache-2.0",
        "google-research/simclr (gs://simclr-checkpoints, gs://simclr-checkpoints-tf2)",
        "Keep this notice; commercial use is allowed.",
        "https://www.apache.org/licenses/LICENSE-2.0",
    ),
    "byol": Licence(
        "CC BY-NC 4.0",
        "deepmind-research, byol (storage.googleapis.com/deepmind-byol/checkpoints)",
        "Name the source and that the file was converted; NO COMMERCIAL USE.",
        "https://creativecommons.org/licenses/by-nc/4.0/legalcode",
    ),
    "moco": Licence(
        "not stated for the weights: MIT for the code since January 2023, CC BY-NC 4.0 "
        "in the README",
        "facebookresearch/moco (dl.fbaipublicfiles.com/moco/moco_checkpoints)",
        "Treat them as CC BY-NC 4.0 (name the source, no commercial use) unless you "
        "know better.",
        "https://github.com/facebookresearch/moco",
    ),
    "torchvision": Licence(
        "that of the file's author",
        "a supervised ResNet with torchvision's names",
        "Ask where the file comes from; terms of the training images may apply too.",
        "https://github.com/pytorch/vision",
    ),
}
"""Licences of the published files; a file of one's own keeps one's own."""


def describe(kind: str, path: str, foreign: Foreign) -> dict[str, Any]:
    """Everything about a source that its weights should carry along.

    Args:
      kind: Of `--source`.
      path: As given.
      foreign: Before its numbers are read.

    Returns:
      A JSON-able record: source with checksums, licence, network, what was used, and
      what was ignored and why.
    """
    used = collections.Counter(
        row.name.rsplit("/", 2)[0] for row, _ in foreign.matched.pairs
    )
    parameters = sum(
        int(np.prod(row.shape))
        for row, _ in foreign.matched.pairs
        if row.name.startswith("online/encoder/")
        and row.name.endswith(("kernel", "gamma", "beta"))
    )
    return {
        "source": {
            "kind": kind,
            "path": str(path),
            "form": foreign.form,
            "files": [_file(file) for file in foreign.files],
            "step": foreign.step,
            **foreign.facts,
        },
        "licence": LICENCES[kind]._asdict(),
        "network": {
            "encoder": foreign.network.spec.name,
            "encoder_family": foreign.network.family,
            "encoder_parameters": parameters,
            "heads": foreign.network.heads,
        },
        "used": dict(used),
        "ignored": [
            {"why": why, "count": len(names), "names": sorted(names)}
            for why, names in foreign.matched.ignored.items()
        ],
        "notes": foreign.notes,
    }


def _file(file: Path) -> dict[str, Any]:
    return {"name": file.name, "bytes": file.stat().st_size, "sha256": sha256(file)}


def sha256(file: Path) -> str:
    """Checksum of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with open(file, "rb") as data:
        while block := data.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def licence_text(record: dict[str, Any]) -> str:
    """The notice that goes beside weights made of a source.

    Args:
      record: What `describe` returned.

    Returns:
      A few lines of text.
    """
    licence, source = record["licence"], record["source"]
    files = "\n".join(f"  {f['name']}  sha256 {f['sha256']}" for f in source["files"])
    return (
        f"These weights were converted by tfssl from a {source['form']}\n"
        f"{files}\n\n"
        f"Origin: {licence['origin']}\n"
        f"Licence of the published weights: {licence['weights']}\n"
        f"{licence['asks']}\n{licence['url']}\n"
        "A file of your own keeps your own licence.\n"
    )
