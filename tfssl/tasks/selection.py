"""`--mode=select`: chooses the images to label next, from embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfssl.config import Config
from tfssl.data.labelled import named_places
from tfssl.embeddings.principal import Principal
from tfssl.embeddings.reading import Embeddings
from tfssl.embeddings.selection import require_left, select
from tfssl.runs import RunDirectory
from tfssl.show import console
from tfssl.show.report.gallery import PictureRow
from tfssl.tasks import Outcome
from tfssl.tasks.embed import embeddings_folder
from tfssl.tasks.findings import Findings

DIMENSIONS = 128
"""More are reduced to so many principal components: a million rows are then 0.5 GB."""

SHOWN = 200


def run(config: Config) -> Outcome:
    """Writes `run_dir/select`: a list, a table and a page.

    Returns:
      Path of the list.
    """
    with RunDirectory(config.run_dir) as directory:
        table = Embeddings(embeddings_folder(config))
        labelled = named_rows(config.labelled, table.rows.keys)
        require_left(config.select, len(table) - len(labelled))
        strategy = config.select_strategy
        rows = select(
            _vectors(table),
            config.select,
            strategy,
            labelled=labelled,
            seed=config.seed,
        )
        findings = Findings(directory, "select", table, config)
        findings.write_list("chosen.txt", [rows], "list")
        findings.write_table(
            "chosen.csv", ("rank",), ((row, (i,)) for i, row in enumerate(rows, 1))
        )
        shown = rows[:SHOWN]
        findings.load_pictures(shown)
        notes = [f"number {i}" for i in range(1, len(shown) + 1)]
        first = f"; the first {SHOWN} of them" if len(rows) > SHOWN else ""
        findings.write_page(
            "chosen.html",
            "Images to label next",
            f"{len(rows):,} images chosen by the strategy {strategy}{first}.",
            [PictureRow(findings.tiles(shown, notes))],
            [("chosen", f"{len(rows):,}"), ("labelled before", f"{len(labelled):,}")],
        )
    return Outcome(value=str(findings.folder / "chosen.txt"))


def _vectors(table: Embeddings) -> np.ndarray:
    """All features, along at most `DIMENSIONS` principal components."""
    if table.dimension <= DIMENSIONS:
        return table.load()
    kept = min(DIMENSIONS, len(table))
    components = Principal.fit((block for _, block in table.blocks()), kept)
    console.say(
        f"choosing by {kept} principal components with {100 * components.kept:.1f} % "
        "of the variance"
    )
    # Back from the mean: angles are those between the features themselves.
    middle = components.mean @ components.components.T
    out = np.empty((len(table), kept), np.float32)
    for start, block in table.blocks():
        out[start : start + len(block)] = components.apply(block) + middle
    return out


def named_rows(file: str, keys: Sequence[str]) -> np.ndarray:
    """Rows that a list names, see `tfssl.data.labelled`; none where there is no list.

    Raises:
      DataError: The list names none of them.
    """
    if not file:
        return np.empty(0, np.int64)
    return named_places(keys, file, f"labelled={file}", "the embeddings")
