"""`--mode=search`: neighbours, duplicates, outliers and scores of embeddings."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from tfssl.build import Trained, pictures, trained, vectors
from tfssl.build.data import query_source
from tfssl.config import Config
from tfssl.embeddings.approximate import index_of
from tfssl.embeddings.neighbours import Exact
from tfssl.embeddings.reading import Embeddings
from tfssl.embeddings.shard_files import FEATURES
from tfssl.embeddings.similarity import (
    duplicates,
    loneliness,
    others_of_class,
    retrieval,
)
from tfssl.errors import DataError, message, printable
from tfssl.runs import RunDirectory
from tfssl.runs.scores import TRAINED, Score, add_score
from tfssl.show import console
from tfssl.show.report.gallery import Picture, PictureRow
from tfssl.show.scores import score_line
from tfssl.tasks import Outcome
from tfssl.tasks.embed import embeddings_folder
from tfssl.tasks.findings import Findings

QUERIES = 10_000
"""Rows that `--search=scores` asks about, spread over the table."""

GROUP_PICTURES = 24


def run(config: Config) -> Outcome:
    """Writes tables, lists and a page into `run_dir/search`.

    Returns:
      The folder; of `--search=scores` the scores.
    """
    with RunDirectory(config.run_dir) as directory:
        table = Embeddings(embeddings_folder(config))
        findings = Findings(directory, "search", table, config)
        value = _KINDS[config.search](config, table, findings)
    return Outcome(value=value)


def _neighbours(config: Config, table: Embeddings, findings: Findings) -> str:
    """The nearest rows of `--query`."""
    # Turned upright if the others were.
    orient = table.manifest["flags"].get("orient", config.orient)
    asked_about = query_source(dataclasses.replace(config, orient=orient))
    run = _same_encoder(config, table)
    if config.search_k > len(table):
        console.say(f"search_k={config.search_k}: there are {len(table)} images")
    ((_, asked),) = vectors.shards(run, asked_about, {0: (0, asked_about.num_examples)})
    for key, reason in asked.unreadable:
        console.say(f"not readable: {printable(key)} ({reason})")
    if not len(asked):
        raise DataError(
            message(
                f"query={printable(config.query)}, of whose {len(asked.unreadable)} "
                "images none can be read",
                "one that can",
                "another file",
            )
        )
    index = index_of(table, config.search_index, console.say)
    classes = [asked_about.class_names[i] if i >= 0 else "" for i in asked.labels]
    unit = table.alike(asked.arrays[FEATURES])
    rows, cosines = index(unit, config.search_k)
    findings.write_table(
        "neighbours.csv",
        ("query", "rank", "cosine"),
        (
            (row, (key, rank, f"{cosine:.6f}"))
            for key, near, values in zip(asked.keys, rows, cosines, strict=True)
            for rank, (row, cosine) in enumerate(zip(near, values, strict=True), 1)
            if row >= 0
        ),
    )
    count = min(len(asked), config.search_shown)
    indices = np.flatnonzero(np.isin(asked_about.ids, asked.ids))[:count]
    images = pictures.pictures(asked_about, indices, run.transform, run.image_size)
    findings.load_pictures(rows[:count].ravel())
    shown = []
    for i, image in enumerate(images):
        near = rows[i] >= 0
        notes = [f"{cosine:.3f}" for cosine in cosines[i][near]]
        tiles = findings.tiles(rows[i][near], notes, like=classes[i])
        name = asked.keys[i].rpartition("/")[2]
        query = Picture(image, name, classes[i], where=asked.keys[i])
        shown.append(PictureRow(tiles, query=query))
    lead = f"The {config.search_k} images of highest cosine to each query."
    facts = [("queries", f"{len(asked):,}")]
    findings.write_page("neighbours.html", "Nearest neighbours", lead, shown, facts)
    return str(findings.folder)


def _duplicates(config: Config, table: Embeddings, findings: Findings) -> str:
    """Rows that are alike."""
    threshold = config.search_threshold
    index = index_of(table, config.search_index, console.say)
    found = duplicates(table, threshold, None if isinstance(index, Exact) else index)
    nearest = np.zeros(len(table), np.float32)
    for side in (0, 1):
        np.maximum.at(nearest, found.pairs[:, side], found.cosines)
    findings.write_table(
        "duplicates.csv",
        ("group", "nearest_cosine"),
        (
            (row, (number, f"{nearest[row]:.6f}"))
            for number, group in enumerate(found.groups, 1)
            for row in group
        ),
    )
    alike = sum(map(len, found.groups))
    repeats = np.concatenate([g[1:] for g in found.groups] or [np.empty(0, np.int64)])
    unique = np.setdiff1d(np.arange(len(table)), repeats)
    findings.write_list("duplicates.txt", found.groups, "groups")
    findings.write_list("unique.txt", [unique], "one image of each group, all others")
    parts = [group[:GROUP_PICTURES] for group in found.groups[: config.search_shown]]
    findings.load_pictures(np.concatenate([[-1], *parts]))
    shown = [
        PictureRow(
            findings.tiles(part, [f"{nearest[row]:.3f}" for row in part]),
            title=f"group {number}: {len(group)} images",
        )
        for number, (part, group) in enumerate(
            zip(parts, found.groups, strict=False), 1
        )
    ]
    lead = (
        f"Images with a cosine of at least {threshold:g} to another of their group; "
        "below each, the cosine to the nearest."
    )
    facts = [("groups", f"{len(found.groups):,}"), ("images in them", f"{alike:,}")]
    findings.write_page("duplicates.html", "Duplicates", lead, shown, facts)
    console.say(f"{len(found.groups):,} groups of {alike:,} images in all")
    return str(findings.folder)


def _outliers(config: Config, table: Embeddings, findings: Findings) -> str:
    """The rows that are farthest from their nearest."""
    index = index_of(table, config.search_index, console.say)
    lonely = loneliness(table, index, config.search_k)
    order = np.argsort(-lonely, kind="stable")[: config.search_outliers]
    findings.write_table(
        "outliers.csv",
        ("rank", "loneliness"),
        ((row, (rank, f"{lonely[row]:.6f}")) for rank, row in enumerate(order, 1)),
    )
    findings.write_list("outliers.txt", [order], "the loneliest images")
    findings.load_pictures(order)
    notes = [f"{lonely[row]:.3f}" for row in order]
    lead = f"One minus the mean cosine to the {config.search_k} nearest other images."
    row = PictureRow(findings.tiles(order, notes))
    findings.write_page("outliers.html", "Outliers", lead, [row])
    return str(findings.folder)


def _scores(config: Config, table: Embeddings, findings: Findings) -> Score:
    """Retrieval by class: rows as queries, among all others."""
    run = _same_encoder(config, table)
    labels = table.rows.labels
    own = np.unique(np.arange(QUERIES) * len(table) // QUERIES)
    others_of_class(labels, own)  # refused before an index is built
    index = index_of(table, config.search_index, console.say)
    found = retrieval(table.take(own), own, labels, index)
    score = Score(
        "retrieval",
        table.manifest["data"],
        TRAINED,
        found.metrics,
        {"index": config.search_index},
        found={"queries": found.queries},
        description=(
            f"each of {found.queries:,} images as a query among the other "
            f"{len(table) - 1:,}, by cosine; mAP@R of Musgrave et al. 2020"
        ),
    )
    add_score(findings.directory, score, run.checkpoint)
    console.say(score_line(score))
    return score


_KINDS: dict[str, Callable[[Config, Embeddings, Findings], Any]] = {
    "neighbours": _neighbours,
    "duplicates": _duplicates,
    "outliers": _outliers,
    "scores": _scores,
}


def _same_encoder(config: Config, table: Embeddings) -> Trained:
    """The run of the command, if the embeddings are made with its weights."""
    run = trained.of_command(config)
    vectors.require_same(run, table)
    return run
