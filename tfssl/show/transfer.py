"""The tables of `--mode=transfer`: console, CSV, LaTeX, and what the report shows.

A row is an encoder, a column a data set. No TensorFlow.
"""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Iterator, Sequence
from typing import Any

from tfssl.errors import printable
from tfssl.show.scores import METRICS

MARK = (
    "not significantly worse than the best of its column (paired permutation test over "
    "test images, p > .05)"
)
"""What bold and `*` say."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """One number.

    Attributes:
      value: A share in [0, 1].
      interval: 95 %, over test images; None where there is none.
      p: Of the permutation test against the best of the column; None for the best
        itself, and where nothing was compared.
      bold: Not significantly worse than the best.
      spread: Standard deviation over draws, or None.
    """

    value: float
    interval: tuple[float, float] | None = None
    p: float | None = None
    bold: bool = False
    spread: float | None = None

    @property
    def text(self) -> str:
        """In per cent, with the spread: `"81.2"`, `"43.0 ± 1.2"`."""
        spread = "" if self.spread is None else f" ± {100 * self.spread:.1f}"
        return f"{100 * self.value:.1f}{spread}"


@dataclasses.dataclass(frozen=True)
class TransferRow:
    """One encoder.

    Attributes:
      name: What the table calls it.
      cells: One a data set, None where nothing was measured.
      rank: Mean of its ranks, 1 the best, over the data sets where all that were
        measured have a number; None of published rows.
      published: Numbers of a paper.
    """

    name: str
    cells: list[Cell | None]
    rank: float | None = None
    published: bool = False


@dataclasses.dataclass(frozen=True)
class TransferTable:
    """One protocol.

    Attributes:
      protocol: `"linear"`, `"knn"`, …, as scores name it.
      title: In words.
      sets: Names of the columns.
      metrics: Metric of each column.
      rows: Encoders.
    """

    protocol: str
    title: str
    sets: list[str]
    metrics: list[str]
    rows: list[TransferRow]


def from_json(table: dict[str, Any]) -> TransferTable:
    """Reads a table as `dataclasses.asdict` and JSON left it."""
    rows = [
        TransferRow(
            **{**row, "cells": [cell and Cell(**cell) for cell in row["cells"]]}
        )
        for row in table["rows"]
    ]
    return TransferTable(**{**table, "rows": rows})


def mean_ranks(values: Sequence[Sequence[float | None]]) -> list[float | None]:
    """Ranks rows in each column, equal ones sharing their places, and averages.

    Args:
      values: `[rows][columns]`; columns in which one is None do not count.

    Returns:
      A mean for each row, 1 the best; None where no column counts.
    """
    columns = [c for c in zip(*values, strict=True) if None not in c]
    if not columns:
        return [None] * len(values)
    ranks = [
        [1 + sum(o > v for o in c) + (sum(o == v for o in c) - 1) / 2 for v in c]
        for c in columns
    ]
    return [sum(row) / len(columns) for row in zip(*ranks, strict=True)]


def console_rows(table: TransferTable) -> list[tuple[str, ...]]:
    """Returns the rows of `console.table`; `*` marks what print sets in bold."""
    ranked = any(row.rank is not None for row in table.rows)
    head = [
        f"{printable(name)} ({_metric(metric)})"
        for name, metric in zip(table.sets, table.metrics, strict=True)
    ]
    rows = [("", *head, *(["mean rank"] if ranked else []))]
    for row in table.rows:
        cells = [f"{c.text}{'*' if c.bold else ' '}" if c else "- " for c in row.cells]
        rank = "-" if row.rank is None else f"{row.rank:.2f}"
        rows.append((printable(row.name), *cells, *([rank] if ranked else [])))
    return rows


def as_csv(tables: Sequence[TransferTable]) -> str:
    """Returns one line a number, with its interval and its p-value."""
    out = io.StringIO()
    lines = csv.writer(out, lineterminator="\n")
    lines.writerow(
        ("protocol", "encoder", "data_set", "metric", "value", "low", "high",
         "spread", "p_against_best", "bold", "published")
    )  # fmt: skip
    for table in tables:
        for row in table.rows:
            for name, metric, cell in zip(
                table.sets, table.metrics, row.cells, strict=True
            ):
                if cell is None:
                    continue
                low, high = cell.interval or ("", "")
                optional = ["" if v is None else v for v in (cell.spread, cell.p)]
                head = table.protocol, printable(row.name), printable(name), metric
                flags = int(cell.bold), int(row.published)
                lines.writerow((*head, cell.value, low, high, *optional, *flags))
    return out.getvalue()


def as_latex(tables: Sequence[TransferTable]) -> str:
    """Returns a `tabular` for each table, in per cent."""
    return "\n".join("\n".join(_tabular(table)) for table in tables)


def _tabular(table: TransferTable) -> Iterator[str]:
    yield f"% {table.title}. Bold: {MARK}."
    yield rf"\begin{{tabular}}{{l{'r' * (len(table.sets) + 1)}}}"
    yield r"\hline"
    yield " & ".join(["", *map(_escaped, table.sets), "mean rank"]) + r" \\"
    yield r"\hline"
    for row in table.rows:
        cells = ["--" if cell is None else _printed(cell) for cell in row.cells]
        rank = "--" if row.rank is None else f"{row.rank:.2f}"
        yield " & ".join([_escaped(row.name), *cells, rank]) + r" \\"
    yield r"\hline"
    yield r"\end{tabular}"
    yield ""


def _printed(cell: Cell) -> str:
    text = cell.text.replace("±", r"$\pm$")
    return rf"\textbf{{{text}}}" if cell.bold else text


_LATEX = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(c, c) for c in printable(text))


def heat_map(table: TransferTable) -> dict[str, Any]:
    """Returns what the report's page shows of a table.

    Each cell has `share`, its place between the lowest (0) and the highest (1) number
    of its column.
    """
    columns = [
        [row.cells[i].value for row in table.rows if row.cells[i]]  # type: ignore[union-attr]
        for i in range(len(table.sets))
    ]
    rows = []
    for row in table.rows:
        cells: list[dict[str, Any] | None] = []
        for cell, column in zip(row.cells, columns, strict=True):
            if cell is None:
                cells.append(None)
                continue
            low, wide = min(column), max(column) - min(column)
            share = (cell.value - low) / wide if wide else 1.0
            cells.append(
                {"text": cell.text, "share": share, "bold": cell.bold,
                 "title": _title(cell)}
            )  # fmt: skip
        rows.append(
            {"name": row.name, "cells": cells, "published": row.published,
             "rank": "–" if row.rank is None else f"{row.rank:.2f}"}
        )  # fmt: skip
    heads = [
        {"name": name, "metric": _metric(metric)}
        for name, metric in zip(table.sets, table.metrics, strict=True)
    ]
    return {"title": table.title, "heads": heads, "rows": rows}


def _title(cell: Cell) -> str:
    parts = []
    if cell.interval:
        low, high = (100 * end for end in cell.interval)
        parts.append(f"95 % interval {low:.1f} to {high:.1f}")
    if cell.p is not None:
        parts.append(f"p = {cell.p:.2g} against the best")
    return ", ".join(parts)


def _metric(name: str) -> str:
    return METRICS.get(name, name.replace("_", " "))
