"""Accuracy against labels: means over seeds, as a table and as lines. No TensorFlow."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence

from tfssl.runs.scores import SCRATCH, TRAINED, Score

NAMES = {
    ("finetune", SCRATCH): "supervised from scratch",
    ("linear", TRAINED): "linear",
    ("finetune", TRAINED): "fine-tuned",
    ("distill", TRAINED): "distilled",
}
"""Protocol and subject to the name of a curve, in the order of the table."""


@dataclasses.dataclass(frozen=True)
class Measured:
    """A score of one draw of the labels.

    Attributes:
      images: Labelled images.
      fraction: As `--label_fraction` has it.
      score: What came out.
    """

    images: int
    fraction: str
    score: Score


@dataclasses.dataclass(frozen=True)
class Point:
    """One place of a curve.

    Attributes:
      images: Labelled images, the mean over the draws.
      fraction: As `--label_fraction` has it.
      mean: Of the leading metric over the draws.
      deviation: Its standard deviation over the draws (n - 1); 0 for one.
      draws: n.
    """

    images: float
    fraction: str
    mean: float
    deviation: float
    draws: int

    def __str__(self) -> str:
        """Returns `"61.2 % ± 0.8"`, or `"61.2 %"` for one draw."""
        spread = f" ± {100 * self.deviation:.1f}" if self.draws > 1 else ""
        return f"{100 * self.mean:.1f} %{spread}"


@dataclasses.dataclass(frozen=True)
class Curve:
    """A way of learning from labels.

    Attributes:
      name: For people.
      points: The fewest images first.
    """

    name: str
    points: tuple[Point, ...]


def curves(measured: Sequence[Measured]) -> list[Curve]:
    """Sorts scores into curves, in the order of `NAMES`.

    Other scores, of baselines and of teachers, are left out.
    """
    table: dict[tuple[int, str], dict[str, list[Measured]]] = {}
    order = list(NAMES)
    for each in measured:
        score = each.score
        key = (score.protocol, score.subject)
        if key not in NAMES:
            continue
        name = NAMES[key]
        if score.protocol == "distill":
            name += f", {score.settings.get('encoder', '')}"
        rows = table.setdefault((order.index(key), name), {})
        rows.setdefault(each.fraction, []).append(each)
    return [
        Curve(name, tuple(sorted(map(_point, rows.values()), key=lambda p: p.images)))
        for (_, name), rows in sorted(table.items())
    ]


def text_table(found: Sequence[Curve]) -> list[tuple[str, ...]]:
    """Returns the curves as rows of cells, the heading first; empty without curves."""
    columns: dict[str, float] = {}
    for curve in found:
        columns |= {point.fraction: point.images for point in curve.points}
    ordered = sorted(columns, key=lambda fraction: columns[fraction])
    heads = [f"{fraction} ({columns[fraction]:.0f} images)" for fraction in ordered]
    body = []
    for curve in found:
        cells = {point.fraction: str(point) for point in curve.points}
        body.append((curve.name, *(cells.get(fraction, "-") for fraction in ordered)))
    return [("labels", *heads), *body] if body else []


def _point(draws: Sequence[Measured]) -> Point:
    values = [next(iter(each.score.metrics.values())) for each in draws]
    return Point(
        statistics.fmean(each.images for each in draws),
        draws[0].fraction,
        statistics.fmean(values),
        statistics.stdev(values) if len(values) > 1 else 0.0,
        len(values),
    )
