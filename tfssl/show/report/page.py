"""Builds the report's HTML page; no request ever leaves it."""

from __future__ import annotations

import functools
import platform
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from tfssl.errors import printable
from tfssl.runs.scores import TRAINED, Score
from tfssl.show.dense_tables import dense_tables
from tfssl.show.label_curves import Curve, text_table
from tfssl.show.report import figures, log_sentences
from tfssl.show.report.classes import class_blocks
from tfssl.show.report.data import ReportData
from tfssl.show.report.feature_space import choose_queries, flat_map, neighbours
from tfssl.show.report.inline import both_themes, data_uri, picture_tile
from tfssl.show.scores import METRICS, SUBJECTS, groups, number, spelled
from tfssl.show.transfer import MARK, from_json, heat_map

QUERIES, NEIGHBOURS, VIEW_ROWS, SKIPPED_ROWS, MAP_ROWS = 8, 5, 8, 100, 10_000
SCORED_FACTS = 3

# field: (heading, how `figures.curve` draws it)
CURVES = {
    "loss": ("Loss", {"smooth": True}),
    "knn_top1": ("Online kNN top-1", {"percent": True, "points": True}),
    "learning_rate": ("Learning rate", {"from_zero": True}),
    "gradient_norm": ("Gradient norm", {"smooth": True, "from_zero": True}),
}
SPEED = {
    "images_per_second": (
        "Images per second",
        {"from_zero": True, "smooth": True, "width": 4.9},
    ),
    "data_wait": (
        "Share of the time waiting for data",
        {"percent": True, "from_zero": True, "smooth": True, "width": 4.9},
    ),
}
NO_CURVE = {"step", "epoch", "time", "seconds"}
MOST_CURVES = 12


def build_page(data: ReportData) -> str:
    """Builds one self-contained page: style and pictures are inside it.

    Args:
      data: What there is; a run still going has no results, and the page says so.

    Returns:
      The HTML text. Every text from outside is escaped, and a Content-Security-Policy
      keeps the browser from requesting anything.
    """
    scalars = [n for n in _numeric_fields(data.log) if n not in {*CURVES, *SPEED}]
    curves = {**CURVES, **{n: (_words(n), {"smooth": True}) for n in scalars}}
    last = data.log[-1] if data.log else {}
    return template("page.html.j2").render(
        data=data,
        facts=_facts(data, last),
        subtitle=_subtitle(data.flags),
        tables=_headline(data),
        curve=_label_curves(data.curves),
        dense=[t for run in data.chain[:1] for t in dense_tables(run.scores)],
        transfer=_transfer(data.transfer),
        pictures=_predictions(data.pictures),
        detections=list(_detections(data)),
        classes=list(class_blocks(data.chain)),
        curves=_curves(data.log, curves)[:MOST_CURVES],
        views=_views(data.views),
        neighbours=_neighbours(data),
        map=_map(data),
        collapse=_collapse(data.collapse),
        start_sentence=log_sentences.start_sentence(data.log),
        speed=_curves(data.log, SPEED),
        speed_sentence=log_sentences.speed_sentence(data.log),
        reading=_reading(data),
        skipped=_skipped(data),
        skipped_rows=SKIPPED_ROWS,
        versions=_versions(data.versions),
    )


@functools.cache
def template(name: str) -> jinja2.Template:
    """Returns a template of this folder; texts from outside are escaped in it."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(
        loader=loader,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printed,
    )
    environment.filters["percent"] = lambda v: f"{100 * v:.1f} %"
    return environment.get_template(name)


def _printed(value: Any) -> Any:
    # A `str` comes from outside; the template's own text is a subclass of it.
    outside = type(value) is str and not value.isprintable()
    return printable(value) if outside else value


def _numeric_fields(log: list[dict[str, Any]]) -> list[str]:
    names = {
        name: None
        for row in log
        for name, v in row.items()
        if log_sentences.is_number(v)
    }
    return [name for name in names if name not in NO_CURVE]


def _words(name: str) -> str:
    return name.replace("_", " ").replace("/", ": ").capitalize()


def _subtitle(flags: dict[str, Any]) -> str:
    parts = [flags.get(name) for name in ("method", "encoder", "dataset")]
    return " · ".join(str(part) for part in parts if part)


def _facts(data: ReportData, last: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The few numbers under the title: name, number, remark."""
    facts = []
    total = data.flags.get("train_steps") or 0
    if "step" in last:
        of = (
            f"of {int(total):,}" if log_sentences.is_number(total) and total > 0 else ""
        )
        facts.append(("steps", f"{int(last['step']):,}", of))
    if log_sentences.is_number(last.get("epoch")):
        facts.append(("epochs", f"{last['epoch']:.4g}", ""))
    if log_sentences.is_number(last.get("loss")):
        facts.append(("loss", f"{last['loss']:.4g}", ""))
    scored = [g for g in groups(data.chain) if g.scores[-1].subject == TRAINED]
    for group in scored[:SCORED_FACTS]:
        name, value = next(iter(group.scores[-1].metrics.items()))
        head = f"{group.protocol} {spelled(name, METRICS)}"
        facts.append((head, number(value), group.run and f"{group.run}/"))
    online = [
        r["knn_top1"] for r in data.log if log_sentences.is_number(r.get("knn_top1"))
    ]
    if online and not scored:
        facts.append(("online kNN top-1", number(online[-1]), ""))
    rate = log_sentences.median(data.log, "images_per_second")
    if rate is not None:
        facts.append(("images/s", f"{rate:,.0f}", ""))
    return facts


def _headline(data: ReportData) -> list[dict[str, Any]]:
    """Tables of scores, one for each leading metric: accuracies apart from overlaps."""
    tables: dict[str, dict[str, Any]] = {}
    mixed = [
        run.name
        for run in data.chain
        if len({score.checkpoint for score in run.scores} - {""}) > 1
    ]
    for group in groups(data.chain):
        leading = next(iter(group.scores[-1].metrics))
        table = tables.setdefault(leading, {"metrics": {}, "groups": [], "notes": {}})
        for score in group.scores:
            table["metrics"] |= dict.fromkeys(_telling(score))
            of = score.checkpoint and f"scored at {score.checkpoint}"
            seen = of if group.run in mixed else ""
            for text in filter(None, (score.description, score.note, seen)):
                table["notes"].setdefault(f"{group.protocol}: {text}")
        table["groups"].append(group)
    return [
        {
            "heads": [spelled(name, METRICS) for name in table["metrics"]],
            "groups": [
                {
                    "title": g.title,
                    "rows": [_score_row(s, list(table["metrics"])) for s in g.scores],
                }
                for g in table["groups"]
            ],
            "notes": list(table["notes"]),
        }
        for table in tables.values()
    ]


def _score_row(score: Score, metrics: list[str]) -> dict[str, Any]:
    cells: list[dict[str, Any] | None] = []
    telling, counts = _telling(score), score.counts
    for name in metrics:
        if (value := telling.get(name)) is None:
            cells.append(None)
            continue
        low_high = [number(end) for end in score.intervals.get(name, ())]
        cells.append(
            {
                "text": number(value),
                "width": 100 * value if 0 <= value <= 1 else None,
                "interval": " to ".join(low_high),
            }
        )
    return {
        "name": spelled(score.subject, SUBJECTS),
        "ours": score.subject == TRAINED,
        "cells": cells,
        "counts": counts,
    }


def _telling(score: Score) -> dict[str, float]:
    """The metrics without those that say nothing: of five classes, all are top-5."""
    few = score.counts is not None and 0 < score.counts.classes <= 5
    return {n: v for n, v in score.metrics.items() if not (few and n == "top5")}


def _curves(
    log: list[dict[str, Any]], wanted: dict[str, tuple[str, dict[str, Any]]]
) -> list[dict[str, Any]]:
    out = []
    for name, (heading, options) in wanted.items():
        rows = [
            (r["step"], r[name]) for r in log if log_sentences.is_number(r.get(name))
        ]
        if not rows or not np.isfinite([value for _, value in rows]).any():
            continue
        steps, values = zip(*rows, strict=True)

        draw = functools.partial(figures.curve, steps, values, **options)
        value = values[-1]
        shown = f"{100 * value:.1f} %" if options.get("percent") else f"{value:.4g}"
        alt = f"{heading} over {len(rows)} log rows, last value {shown}"
        out.append(
            {"heading": heading, "last": shown, "picture": both_themes(draw, alt)}
        )
    return out


def _label_curves(curves: Sequence[Curve]) -> dict[str, Any] | None:
    """Accuracy against labels: a table, and a line a way of learning."""
    if not curves:
        return None
    heads, *rows = text_table(curves)
    draws = max(point.draws for curve in curves for point in curve.points)
    alt = f"accuracy over labelled images: {', '.join(c.name for c in curves)}"
    draw = functools.partial(figures.label_curves, curves)
    legend = [
        {"name": curve.name, "mark": figures.mark(i)} for i, curve in enumerate(curves)
    ]
    return {
        "heads": heads[1:],
        "rows": rows,
        "draws": draws,
        "picture": both_themes(draw, alt),
        "legend": legend,
    }


def _views(views: np.ndarray | None) -> list[list[dict[str, Any]]]:
    if views is None:
        return []
    return [
        [picture_tile(v, f"image {i + 1}, view {j + 1}") for j, v in enumerate(row)]
        for i, row in enumerate(views[:VIEW_ROWS])
    ]


def _neighbours(data: ReportData) -> dict[str, Any] | None:
    if data.features is None or data.images is None or len(data.features) < 2:
        return None
    queries = choose_queries(data.labels, QUERIES, len(data.features))
    found, cosines = neighbours(data.features, queries, NEIGHBOURS)
    rows, hits, known = [], 0, 0
    for query, near, cosine in zip(queries, found, cosines, strict=True):
        label, tiles = data.label_of(query), []
        for row, c in zip(near, cosine, strict=True):
            other = data.label_of(row)
            match = None if label is None or other is None else label == other
            hits, known = hits + (match is True), known + (match is not None)
            name = data.class_name(other)
            tile = picture_tile(data.images[row], f"neighbour {name}, cosine {c:.2f}")
            tiles.append({**tile, "name": name, "cosine": f"{c:.2f}", "match": match})
        name = data.class_name(label)
        query_tile = {**picture_tile(data.images[query], f"query {name}"), "name": name}
        rows.append({"query": query_tile, "tiles": tiles})
    return {"rows": rows, "hits": hits, "known": known, "count": len(data.features)}


def _map(data: ReportData) -> dict[str, Any] | None:
    if data.features is None or len(data.features) < 5:
        return None
    step = -(-len(data.features) // MAP_ROWS)
    kept = np.arange(0, len(data.features), step)
    points, method = flat_map(data.features[kept])
    labels = [data.label_of(int(row)) for row in kept]
    classes, counts = np.unique(
        [v for v in labels if v is not None], return_counts=True
    )
    # With more classes than marks the most frequent ones are named.
    named = sorted(classes[np.argsort(-counts, kind="stable")][: figures.MOST_CLASSES])
    place = {int(c): i for i, c in enumerate(named)}
    groups = [None if v is None else place.get(v) for v in labels]
    legend = [
        {"name": data.class_name(c), "mark": figures.mark(i)} for c, i in place.items()
    ]
    alt = f"{method} map of {len(kept)} images, {len(classes)} classes"
    picture = both_themes(lambda theme: figures.scatter(points, groups, theme), alt)
    return {
        "picture": picture,
        "legend": legend,
        "method": method,
        "count": len(kept),
        "others": len(classes) - len(named),
    }


def _collapse(signals: dict[str, Any] | None) -> dict[str, Any] | None:
    if not signals:
        return None
    std = signals.get("std")
    picture, numbers = None, []
    if std is not None and len(std):
        alt = f"deviations of {len(std)} feature dimensions, mean {np.mean(std):.2f}"
        picture = both_themes(
            lambda theme: figures.histogram(np.asarray(std), theme), alt
        )
        numbers.append(("mean deviation", f"{np.mean(std):.2f}",
                        "1 = evenly spread, 0 = collapsed"))  # fmt: skip
    if "effective_rank" in signals:
        of = f" of {signals['dimension']}" if "dimension" in signals else ""
        numbers.append(("effective rank", f"{signals['effective_rank']:.1f}{of}",
                        "directions in use"))  # fmt: skip
    if "duplicates" in signals:
        numbers.append(("near-duplicates", f"{100 * signals['duplicates']:.2f} %",
                        "pairs of images with cosine above 0.99"))  # fmt: skip
    return {
        "picture": picture,
        "numbers": numbers,
        "verdict": signals.get("verdict", ""),
        "healthy": signals.get("healthy", True),
    }


def _transfer(found: dict[str, Any] | None) -> dict[str, Any] | None:
    """Heat maps of the transfer tables, and which data sets are not in them."""
    if not found:
        return None
    maps = [heat_map(from_json(table)) for table in found["tables"]]
    notes = [f"{row['name']}: {row['note']}" for row in found["sets"] if row["note"]]
    notes += [f"{r['name']} is not here: {r['prepare']}" for r in found["missing"]]
    return {"maps": maps, "notes": notes, "mark": MARK}


def _predictions(found: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Pictures of what dense tasks predict, run by run."""
    return [
        {
            "title": name and f"{name}/",
            "heads": ", ".join(given["heads"]),
            "tiles": [
                {"uri": data_uri(row["data"]), "name": row["name"]}
                for row in given["pictures"]
            ],
        }
        for name, given in found.items()
        if given["pictures"]
    ]


def _detections(data: ReportData) -> Iterator[dict[str, Any]]:
    """Precision over recall, and average precision by class, of each detector."""
    for group in groups(data.chain):
        for score in group.scores:
            precision = score.found.get("precision")
            if score.protocol != "detect" or not precision:
                continue
            recalls = np.linspace(0, 100, len(precision)).tolist()
            draw = functools.partial(
                figures.curve, recalls, precision, percent=True, from_zero=True
            )
            rows = [
                (name, *(number(row[n]) for n in ("ap", "ap50", "voc_ap50")),
                 f"{row['objects']:,}")
                for name, row in score.found["by_class"].items()
            ]  # fmt: skip
            parts = (group.run and f"{group.run}/", spelled(score.subject, SUBJECTS))
            title = " · ".join(filter(None, parts))
            alt = "precision over recall at overlap .5, mean over classes"
            yield {"title": title, "picture": both_themes(draw, alt), "rows": rows}


def _reading(data: ReportData) -> list[str]:
    """How each data set was read, in a line."""
    found = (data.results.get("data") or {}).values()
    return [str(row["text"]) for row in found if row.get("text")]


def _skipped(data: ReportData) -> list[dict[str, Any]]:
    rows = [*data.skipped, *(data.results.get("skipped_files") or [])]
    return list({str(row.get("path")): row for row in rows}.values())


def _versions(given: dict[str, str]) -> dict[str, str]:
    found = {"Python": platform.python_version(), "platform": platform.platform()}
    for name in ("numpy", "matplotlib", "scikit-learn", "jinja2"):
        found[name] = metadata.version(name)
    return {**{str(k): str(v) for k, v in given.items()}, **found}
