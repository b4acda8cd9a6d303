"""Where converted weights come from and what their licence asks for."""

from __future__ import annotations

import collections
import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from tfssl.weights.published import Published


def describe(kind: str, path: str, published: Published) -> dict[str, Any]:
    """Returns everything about a source that its weights should carry along.

    Args:
      kind: Of `--source`.
      path: As given.
      published: Before its numbers are read.

    Returns:
      A JSON-able record: source with checksums, licence, network, what was used, and
      what was ignored and why.
    """
    used = collections.Counter(
        row.name.rsplit("/", 2)[0] for row, _ in published.matched.pairs
    )
    parameters = sum(
        int(np.prod(row.shape))
        for row, _ in published.matched.pairs
        if row.name.startswith("online/encoder/")
        and row.name.endswith(("kernel", "gamma", "beta"))
    )
    return {
        "source": {
            "kind": kind,
            "path": str(path),
            "form": published.form,
            "files": [_file(file) for file in published.files],
            "step": published.step,
            **published.facts,
        },
        "licence": published.licence._asdict(),
        "network": {
            "encoder": published.network.spec.name,
            "encoder_family": published.network.family,
            "encoder_parameters": parameters,
            "heads": published.network.heads,
        },
        "used": dict(used),
        "ignored": [
            {"why": why, "count": len(names), "names": sorted(names)}
            for why, names in published.matched.ignored.items()
        ],
        "notes": published.notes,
    }


def lines(record: dict[str, Any]) -> list[str]:
    """Says what `describe` returned: what was used, what was not, on which terms."""
    source, network, licence = (record[n] for n in ("source", "network", "licence"))
    parts = ", ".join(f"{role} {count}" for role, count in record["used"].items())
    return [
        f"{source['form']}: {network['encoder']} of the family "
        f"{network['encoder_family']}, {network['encoder_parameters']:,} parameters in "
        f"the encoder, step {source['step']}",
        f"tensors used: {parts}",
        *(f"ignored: {e['count']} ({e['why']})" for e in record["ignored"]),
        *(f"note: {note}" for note in record["notes"]),
        f"licence of the published weights: {licence['weights']}",
        licence["asks"],
    ]


def _file(file: Path) -> dict[str, Any]:
    return {"name": file.name, "bytes": file.stat().st_size, "sha256": sha256(file)}


def sha256(file: Path) -> str:
    """Returns the checksum of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with open(file, "rb") as data:
        while block := data.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def licence_text(record: dict[str, Any]) -> str:
    """Returns the notice that goes beside weights made of a source.

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
