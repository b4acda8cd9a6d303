"""From the results of `--mode=transfer` to its tables."""

from __future__ import annotations

import collections
from typing import Any

import numpy as np

from tfssl.config.transfer_sets import published
from tfssl.evaluate.result import Result
from tfssl.evaluate.significance import permutation_p
from tfssl.show.scores import subject_title
from tfssl.show.transfer import Cell, TransferRow, TransferTable, mean_ranks

SIGNIFICANT = 0.05

Key = tuple[str, str]
"""Name of a protocol's table, and of a subject."""


def tables(
    encoder: str,
    about: list[dict[str, Any]],
    subjects: list[str],
    results: dict[str, dict[Key, Result]],
) -> list[TransferTable]:
    """Makes a table of each protocol.

    Args:
      encoder: The backbone that published numbers stand beside.
      about: `name` and leading `metric` of each data set.
      subjects: Encoders, as scores name them.
      results: Name of a data set to what was measured on it.
    """
    names = dict.fromkeys(name for of in results.values() for name, _ in of)
    return [_table(encoder, name, about, subjects, results) for name in names]


def _table(
    encoder: str,
    name: str,
    about: list[dict[str, Any]],
    subjects: list[str],
    results: dict[str, dict[Key, Result]],
) -> TransferTable:
    every = set().union(*results.values())
    subjects = [key for key in subjects if (name, key) in every]
    there = [each for each in about if (name, subjects[0]) in results[each["name"]]]
    sets = [each["name"] for each in there]
    few, _, count = name.partition(" ")
    cells: dict[str, list[Cell]] = collections.defaultdict(list)
    for each in there:
        found = {key: results[each["name"]][name, key] for key in subjects}
        for key, cell in _column(found, each["metric"]).items():
            cells[key].append(cell)
    ranks = mean_ranks([[cell.value for cell in cells[key]] for key in subjects])
    rows = [
        TransferRow(subject_title(key), [*cells[key]],
                    rank if len(subjects) > 1 else None)
        for key, rank in zip(subjects, ranks, strict=True)
    ]  # fmt: skip
    if count:
        # kNN beside the linear classifier.
        for key, row in zip(subjects, list(rows), strict=True):
            beside = [
                _beside(results[each["name"]][name, key], each["metric"])
                for each in there
            ]
            rows.append(TransferRow(f"{row.name}, kNN", [*beside]))
    rows += [
        TransferRow(who, [None if v is None else Cell(v) for v in values],
                    published=True)
        for who, values in published(encoder, sets, name).items()
    ]  # fmt: skip
    titles = {
        "linear": "Linear classifiers",
        "knn": "Nearest neighbours",
        "finetune": "Fine-tuned",
        "few_shot": f"{count} image{'s' if count != '1' else ''} a class, mean ± "
        "standard deviation over draws",
    }
    metrics = [each["metric"] for each in there]
    return TransferTable(name, titles[few], sets, metrics, rows)


def _column(found: dict[str, Result], metric: str) -> dict[str, Cell]:
    """One data set: who is not significantly worse than the best."""
    best = max(found, key=lambda key: found[key].metrics[metric])
    tested = len(found) > 1 and all(len(each.ids) for each in found.values())
    cells = {}
    for key, each in found.items():
        p = None
        if tested and key != best:
            p = permutation_p(*_paired(found[best], each))
        cells[key] = Cell(
            each.metrics[metric],
            each.intervals.get(metric),
            p,
            tested and (key == best or (p or 0.0) > SIGNIFICANT),
            each.found.get("std"),
        )
    return cells


def _paired(first: Result, second: Result) -> tuple[np.ndarray, np.ndarray]:
    """What each of the images that both could read adds to the accuracy of either."""
    _, a, b = np.intersect1d(first.ids, second.ids, return_indices=True)
    return first.credit[a], second.credit[b]


def _beside(found: Result, metric: str) -> Cell:
    name = f"{metric}_knn"
    return Cell(found.metrics[name], spread=found.found["std_knn"])
