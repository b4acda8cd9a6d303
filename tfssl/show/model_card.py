"""The model card of an export: what it is, made of what, how good, with what limits.

Its head is the metadata that Hugging Face's hub reads
(https://huggingface.co/docs/hub/model-cards). Of the data it tells counts, and no name
of a file, folder or class. No TensorFlow.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from tfssl.errors import printable
from tfssl.runs.scores import TRAINED, Score
from tfssl.show.scores import METRICS, PROTOCOLS, number, spelled

PUBLIC = ("shapes", "tfds")
"""Kinds of data sets whose names say nothing about whoever trained on them."""

LIBRARIES = {"keras": "keras", "torchvision": "pytorch", "onnx": "onnx",
             "litert": "tflite", "saved_model": "tensorflow"}  # fmt: skip


def model_card(
    metadata: Mapping[str, Any],
    *,
    recipe: Mapping[str, Any],
    scores: Sequence[Score],
    data: Sequence[Mapping[str, Any]],
    unreadable: int = 0,
) -> str:
    """Makes the text of `MODEL_CARD.md`.

    Args:
      metadata: What stands in the export's `metadata.json`.
      recipe: Flags that made the weights, by name.
      scores: Of the run; those of baselines stand beside.
      data: How each data set of the run was read, as `Summary.as_dict` gives it.
      unreadable: Files that could not be read.
    """
    return _template().render(
        facts={"verified": None, **metadata},
        name=_title(metadata),
        licence=_licence(metadata.get("provenance")),
        library=LIBRARIES[metadata["format"]],
        recipe={name: _flat(value) for name, value in recipe.items()},
        results=_index(scores),
        scores=[_row(score) for score in scores],
        data=[_counts(entry) for entry in data],
        unreadable=unreadable,
    )


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    # JSON is YAML, whatever is in the string.
    environment.filters["yaml"] = lambda value: json.dumps(value, ensure_ascii=True)
    environment.filters["flat"] = _flat
    return environment.get_template("model_card.md.j2")


def _flat(value: object) -> str:
    """A value as text that ends no cell of a table and opens no tag."""
    text = printable(value).replace("|", "\\|").replace("<", "&lt;")
    return text.replace("`", "'")


def _title(metadata: Mapping[str, Any]) -> str:
    return f"{metadata['encoder']} by {metadata['method']}"


def _licence(provenance: Mapping[str, Any] | None) -> dict[str, str]:
    """Identifier of the hub, and what stands in the text."""
    if not provenance:
        return {
            "id": "unknown",
            "name": "",
            "text": "Trained from a random start; whoever trained it has not said "
            "under which licence it may be used.",
        }
    licence = provenance["licence"]
    return {
        "id": "other",
        "name": licence["weights"],
        "link": licence["url"],
        "text": f"Made from published weights of {licence['origin']}: "
        f"{licence['weights']}. {licence['asks']} The notice stands beside, in "
        "LICENSE-weights.txt.",
    }


def _counts(entry: Mapping[str, Any]) -> dict[str, Any]:
    name = str(entry["name"])
    kind = name.partition(":")[0].partition("/")[0]
    return {
        "kind": name if kind in PUBLIC else f"{kind}: images of one's own",
        "images": entry["images"],
        "classes": len(entry["classes"]),
        "unlabelled": entry["unlabelled"],
    }


def _dataset(score: Score) -> str:
    kind = score.dataset.partition(":")[0].partition("/")[0]
    return score.dataset if kind in PUBLIC else f"{kind}: held-out images"


def _row(score: Score) -> dict[str, str]:
    leading, *more = score.metrics.items()
    low_high = score.intervals.get(leading[0])
    return {
        "protocol": spelled(score.protocol, PROTOCOLS),
        "subject": spelled(score.subject, {}),
        "leading": f"{spelled(leading[0], METRICS)} {number(leading[1])}"
        + (f" [{number(low_high[0])}, {number(low_high[1])}]" if low_high else ""),
        "more": ", ".join(f"{spelled(n, METRICS)} {number(v)}" for n, v in more),
        "counts": str(score.counts) if score.counts else "",
        "dataset": _dataset(score),
        "description": "; ".join(filter(None, (score.description, score.note))),
    }


def _index(scores: Sequence[Score]) -> list[dict[str, Any]]:
    """The part `results` of the hub's `model-index`."""
    return [
        {
            "task": {
                "type": "image-feature-extraction",
                "name": spelled(score.protocol, PROTOCOLS),
            },
            "dataset": {
                "type": score.dataset.partition(":")[0] or "unknown",
                "name": _dataset(score),
            },
            "metrics": [
                {"type": name, "name": spelled(name, METRICS), "value": value}
                for name, value in score.metrics.items()
            ],
        }
        for score in scores
        if score.subject == TRAINED
    ]
