"""What pre-training is worth in dense tasks: a table as MoCo's 2. No TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tfssl.errors import printable
from tfssl.runs.scores import SCRATCH, Score
from tfssl.show.scores import METRICS, PROTOCOLS, spelled

BY_SEED = "by_seed"
"""What was found of a mean over seeds, and of no other score: each metric's values."""

SHOWN = {"detect": ("ap50", "ap", "ap75", "voc_ap50")}
"""Metrics of a table's columns; of other protocols all."""


class DenseTable(NamedTuple):
    """One task on one data set.

    Attributes:
      title: `"Detection · shapes:200/test"`.
      heads: Of the columns.
      rows: A start each, in per cent: `"54.2 ± 0.3 (+10.1)"`.
      note: What stands in a cell.
    """

    title: str
    heads: tuple[str, ...]
    rows: list[tuple[str, ...]]
    note: str


def dense_tables(scores: Sequence[Score]) -> list[DenseTable]:
    """Makes the tables of those scores that are means over seeds, random weights first.

    Args:
      scores: Of a run, for example.
    """
    found: dict[tuple[str, str, str], list[Score]] = {}
    for score in scores:
        if BY_SEED in score.found:
            key = (score.protocol, score.dataset, str(sorted(score.settings.items())))
            found.setdefault(key, []).append(score)
    return [_table(rows) for rows in found.values()]


def _table(scores: list[Score]) -> DenseTable:
    ordered = sorted(scores, key=lambda score: score.subject != SCRATCH)
    first = ordered[0]
    wanted = SHOWN.get(first.protocol, tuple(first.metrics))
    names = [name for name in wanted if all(name in s.metrics for s in ordered)]
    base = first.metrics if first.subject == SCRATCH else {}
    rows = [
        (_start(score), *(_cell(score, name, base) for name in names))
        for score in ordered
    ]
    seeds = sorted({len(next(iter(s.found[BY_SEED].values()))) for s in ordered})
    note = "One seed."
    if seeds[-1] > 1:
        count = " to ".join(map(str, dict.fromkeys((seeds[0], seeds[-1]))))
        note = f"Means over {count} seeds ± standard deviation."
    if base and len(ordered) > 1:
        note += " In brackets: the difference to random weights, in points."
    title = " · ".join(
        filter(None, (spelled(first.protocol, PROTOCOLS), printable(first.dataset)))
    )
    heads = ("begun from", *(spelled(name, METRICS) for name in names))
    return DenseTable(title, heads, rows, note)


def _start(score: Score) -> str:
    return "random weights" if score.subject == SCRATCH else printable(score.subject)


def _cell(score: Score, name: str, base: dict[str, float]) -> str:
    text = f"{100 * score.metrics[name]:.1f}"
    spread = score.found.get("std", {})
    if name in spread:
        text += f" ± {100 * spread[name]:.1f}"
    if base and score.subject != SCRATCH:
        text += f" ({100 * (score.metrics[name] - base[name]):+.1f})"
    return text
