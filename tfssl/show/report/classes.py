"""Classes one by one: who is recognised, and who is taken for whom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tfssl.runs.scores import Confusion
from tfssl.show.scores import RunScores, groups

# More columns than a page is wide show nothing; the most confused ones stand for all.
MOST_IN_PICTURE, NUMBERED, WORST, PAIRS, MOST_ROWS = 24, 12, 10, 10, 2_000


def class_blocks(chain: Sequence[RunScores]) -> Iterator[dict[str, Any]]:
    """Yields what the page shows of each score whose confusion is known.

    Args:
      chain: The runs; of each protocol and data set the last subject is shown, which
        is the trained encoder.
    """
    known = {run.name: run.confusions for run in chain}
    for group in groups(chain):
        score = group.scores[-1]
        if confusion := known[group.run].get(score.key):
            block = _block(confusion)
            unions = score.found.get("iou") or {}
            for row in (*block["rows"], *block["all"]):
                row["iou"] = unions.get(row["name"])
            yield {
                "title": group.title, "unit": "pixel" if unions else "image", **block
            }  # fmt: skip


def _block(confusion: Confusion) -> dict[str, Any]:
    table, mistakes = confusion.per_class(), confusion.mistakes()
    rows = _rows(confusion, table, mistakes)
    tested = [row for row in rows if row["images"]]
    many = len(rows) > MOST_IN_PICTURE
    worst = sorted(tested, key=lambda row: row["recall"])[:WORST]
    return {
        "rows": worst if many else rows,
        "all": rows[:MOST_ROWS] if many else [],
        "count": len(rows),
        "tested": len(tested),
        "picture": _picture(confusion, table["images"], mistakes),
        "pairs": [
            {
                "truth": confusion.names[truth],
                "predicted": confusion.names[predicted],
                "images": images,
                "of": int(table["images"][truth]),
            }
            for truth, predicted, images in mistakes[:PAIRS]
        ],
    }


def _rows(
    confusion: Confusion,
    table: dict[str, np.ndarray],
    mistakes: list[tuple[int, int, int]],
) -> list[dict[str, Any]]:
    """One row a class, in the order of the labels."""
    taken_for: dict[int, tuple[int, int]] = {}
    for truth, predicted, images in mistakes:
        taken_for.setdefault(truth, (predicted, images))
    rows = []
    for label, name in enumerate(confusion.names):
        row: dict[str, Any] = {key: values[label] for key, values in table.items()}
        if label in taken_for:
            predicted, images = taken_for[label]
            row["taken_for"] = f"{confusion.names[predicted]} ({images})"
        rows.append({"name": name, **row})
    return rows


def _picture(
    confusion: Confusion, images: np.ndarray, mistakes: list[tuple[int, int, int]]
) -> dict[str, Any]:
    """The confusion as rows of cells, each the share of its class's images."""
    classes = len(confusion.names)
    chosen = np.arange(classes)
    if classes > MOST_IN_PICTURE:
        first: dict[int, None] = {}
        for truth, predicted, _ in mistakes:
            first |= {truth: None, predicted: None}
        chosen = np.sort([*first][:MOST_IN_PICTURE])
    shares = confusion.matrix(chosen) / np.maximum(images[chosen], 1)[:, None]
    names = [confusion.names[label] for label in chosen.tolist()]
    return {
        "names": names,
        "part": len(chosen) < classes,
        "numbered": len(chosen) <= NUMBERED,
        "rows": [
            {
                "name": name,
                "cells": [
                    {
                        "share": float(share),
                        "right": i == j,
                        "title": f"{name} taken for {names[j]}: {100 * share:.1f} %",
                    }
                    for j, share in enumerate(row)
                ],
            }
            for i, (name, row) in enumerate(zip(names, shares, strict=True))
        ],
    }
