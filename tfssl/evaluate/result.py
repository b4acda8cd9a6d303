"""What a protocol measured on one data set, as a thing that is compared and kept."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from tfssl.embeddings.shard_files import replacing
from tfssl.evaluate.average_precision import mean_average_precision
from tfssl.evaluate.features import Features
from tfssl.evaluate.metrics import Classification
from tfssl.runs.scores import Confusion, Counts


@dataclasses.dataclass(frozen=True)
class Result:
    """One protocol on one data set.

    Attributes:
      metrics: The leading one first.
      intervals: Of some metrics, 95 %.
      found: What came out beside them.
      counts: Of how many images it speaks.
      note: Empty, or what differs from what was asked for.
      ids: int64 `[n]`, of the test images scored.
      credit: `[n]`, what each adds to the accuracy that tests compare: of mean per
        class its class's share, of several labels its share of right answers.
      confusion: Of one label an image.
    """

    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    found: dict[str, Any]
    counts: Counts
    note: str
    ids: np.ndarray
    credit: np.ndarray
    confusion: Confusion | None

    def save(self, file: Path) -> None:
        """Writes it as `.npz`, whole or not at all."""
        file.parent.mkdir(parents=True, exist_ok=True)
        plain = {
            "metrics": self.metrics,
            "intervals": self.intervals,
            "found": self.found,
            "counts": dataclasses.asdict(self.counts),
            "note": self.note,
        }
        arrays = {"ids": self.ids, "credit": self.credit}
        if (confusion := self.confusion) is not None:
            plain["names"] = list(confusion.names)
            arrays["confusion"] = np.stack(
                [confusion.truth, confusion.predicted, confusion.count]
            )
        text = np.frombuffer(json.dumps(plain).encode(), np.uint8)
        with replacing(file) as out:
            np.savez(out, json=text, **arrays)  # type: ignore[arg-type]

    @classmethod
    def load(cls, file: Path) -> Result:
        """Reads what `save` wrote."""
        with np.load(file) as arrays:
            plain = json.loads(arrays["json"].tobytes())
            confusion = None
            if "confusion" in arrays:
                confusion = Confusion(*arrays["confusion"], plain["names"])
            return cls(
                plain["metrics"],
                {name: tuple(ends) for name, ends in plain["intervals"].items()},
                plain["found"],
                Counts(**plain["counts"]),
                plain["note"],
                arrays["ids"],
                arrays["credit"],
                confusion,
            )


def of_answers(
    found: Classification,
    answers: np.ndarray,
    tested: Features,
    metric: str,
    *,
    interval: bool = True,
) -> Result:
    """The result of one answer an image.

    Args:
      found: What the answers are worth.
      answers: int64 `[n]`, classes.
      tested: Labels and ids of the n images.
      metric: The leading one.
      interval: Whether intervals are computed.
    """
    known = tested.labels >= 0
    labels = tested.labels[known]
    credit = (answers[known] == labels).astype(float)
    if metric == "mean_per_class":
        there = np.bincount(labels, minlength=len(found.confusion.names))
        credit /= there[labels] * (there > 0).sum()
    else:
        credit /= len(labels)
    return Result(
        _leading(found.metrics, metric),
        found.intervals if interval else {},
        {},
        found.counts,
        "",
        tested.ids[known],
        credit,
        found.confusion,
    )


def of_scores(
    tested: Features,
    targets: np.ndarray,
    metric: str,
    *,
    images: int,
    interval: bool = True,
) -> Result:
    """The result where an image may have several labels.

    Args:
      tested: In place of features the logits `[n, C]`, and the ids.
      targets: int8 `[n, C]`, see `mean_average_precision`.
      metric: The leading one.
      images: In the split, with those that could not be read.
      interval: Whether intervals are computed.
    """
    logits = tested.features
    metrics, intervals = mean_average_precision(logits, targets, interval=interval)
    asked = targets >= 0
    right = ((logits > 0) == (targets == 1)) & asked
    share = right.sum(axis=1) / np.maximum(asked.sum(axis=1), 1)
    metrics["label_accuracy"] = float(right.sum() / asked.sum())
    counts = Counts(images, len(tested), images - len(tested), classes=targets.shape[1])
    metrics, credit = _leading(metrics, metric), share / len(tested)
    return Result(metrics, intervals, {}, counts, "", tested.ids, credit, None)


def _leading(metrics: dict[str, float], first: str) -> dict[str, float]:
    return {first: metrics[first], **metrics}
