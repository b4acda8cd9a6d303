"""What one encoder's features of one data set are worth: linear, kNN, few-shot.

Every result is a file in `RUN/transfer/results`, by a digest of all that it depends on:
a command that was stopped goes on, and one more run or data set costs its own time.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tfssl.build.kept_features import gathered
from tfssl.build.transfer_folds import Folds
from tfssl.config import Config
from tfssl.config.transfer_sets import PER_CLASS
from tfssl.data.folds import shots
from tfssl.embeddings.principal import normalized
from tfssl.embeddings.shard_files import replacing
from tfssl.embeddings.writing import Writer
from tfssl.evaluate import Features, classification, knn, rank_by
from tfssl.evaluate.average_precision import mean_average_precision
from tfssl.evaluate.metrics import Classification
from tfssl.evaluate.regression import Linear, chosen, fit
from tfssl.runs.scores import Confusion, Counts

FEW_SHOT_L2 = 1.0
"""On features of length 1: scikit-learn's default, as Tian et al. 2020 use it."""

_VERSION = 1  # of what the numbers depend on beside the settings: this file


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


class Bench:
    """The features of one data set by one encoder, in memory when they are needed.

    Args:
      config: Of the command.
      folds: The data set.
      fitted: Kept features to learn from, and the ids of their rows to choose with.
      tested: Kept features to score.
      folder: Where results are kept.
    """

    def __init__(
        self,
        config: Config,
        folds: Folds,
        fitted: list[tuple[Writer, np.ndarray]],
        tested: Writer,
        folder: Path,
    ):
        self._config, self._folds, self._folder = config, folds, folder
        self._parts, self._tested = fitted, tested
        self._loaded: tuple[Features, int, Features] | None = None
        names = folds.targets(folds.test.ids, folds.test.labels)
        own = hashlib.sha256(np.ascontiguousarray(names).tobytes())
        for writer, last in fitted:
            own.update(writer.folder.name.encode() + np.sort(last).tobytes())
        own.update(f"{tested.folder.name} {folds.metric} {_VERSION}".encode())
        self._own = own.hexdigest()

    def result(self, protocol: str, settings: dict[str, Any]) -> Result:
        """Measures, or reads what was measured before.

        Args:
          protocol: `"linear"`, `"knn"` or `"few_shot"`.
          settings: Of it; all that may differ.
        """
        key = json.dumps([self._own, protocol, settings], sort_keys=True)
        digest = hashlib.sha256(key.encode()).hexdigest()[:16]
        file = self._folder / f"{protocol}-{digest}.npz"
        if not file.exists():
            _save(file, _PROTOCOLS[protocol](self, **settings))
        return _load(file)

    @property
    def several(self) -> bool:
        """Whether images have several labels."""
        return self._folds.train.several is not None

    def _features(self) -> tuple[Features, int, Features]:
        """Features to learn from, how many are before those to choose with; tested."""
        if self._loaded is None:
            every, first, count = gathered(self._parts, unlabelled=self.several)
            fit_ = Features(
                every.features[:count], every.labels[:count], every.ids[:count]
            )
            tested, _, _ = gathered([(self._tested, np.empty(0, np.int64))],
                                    unlabelled=True)  # fmt: skip
            self._loaded = fit_, first, tested
        return self._loaded

    def _targets(self, features: Features) -> np.ndarray:
        return self._folds.targets(features.ids, features.labels)

    def _linear(self, l2_values: list[float]) -> Result:
        """The papers' linear classifier."""
        fit_, first, tested = self._features()
        targets, classes = self._targets(fit_), len(self._folds.class_names)

        held_out = Features(
            fit_.features[first:], fit_.labels[first:], fit_.ids[first:]
        )

        def score(linear: Linear) -> float:
            found = self._measured(linear, held_out, interval=False)
            return found.metrics[self._folds.metric]

        l2, final, scores = chosen(
            fit_.features, targets, first, score, classes=classes, values=l2_values
        )
        found = self._measured(final, tested)
        notes = [found.note]
        if l2 in (min(l2_values), max(l2_values)):
            notes.append(f"the best L2 value {l2:g} is at an end of those tried")
        if not final.converged:
            notes.append(f"L-BFGS stopped after {final.steps} steps, not converged")
        more = {
            "l2": l2,
            "validation": max(scores),
            "steps": final.steps,
            "train_images": first,
            "validation_images": len(fit_) - first,
        }
        return dataclasses.replace(
            found, found=more, note="; ".join(filter(None, notes))
        )

    def _knn(self, k: int, temperature: float) -> Result:
        """Weighted neighbours among all training images."""
        fit_, _, tested = self._features()
        got = knn(
            fit_,
            tested,
            k=k,
            temperature=temperature,
            num_classes=len(self._folds.class_names),
            class_names=self._folds.class_names,
            images=self._folds.test.num_examples,
        )
        found = self._of(got.classification, got.predictions, tested, intervals=True)
        return dataclasses.replace(found, found={"k": got.k}, note=got.note)

    def _few_shot(self, images: int, draws: int, k: int, temperature: float) -> Result:
        """Means over draws of some images a class, by a linear classifier and kNN."""
        fit_, _, tested = self._features()
        classes = len(self._folds.class_names)
        unit_tested = dataclasses.replace(tested, features=normalized(tested.features))
        values: dict[str, list[float]] = {"linear": [], "knn": []}
        for draw in range(draws):
            rows = shots(fit_.labels, fit_.ids, images, draw)
            part = Features(fit_.features[rows], fit_.labels[rows], fit_.ids[rows])
            unit = normalized(part.features)
            linear = fit(unit, part.labels, FEW_SHOT_L2, classes=classes)
            measured = self._measured(linear, unit_tested, interval=False)
            values["linear"].append(measured.metrics[self._folds.metric])
            got = knn(
                part,
                tested,
                k=k,
                temperature=temperature,
                num_classes=classes,
                images=self._folds.test.num_examples,
            )
            values["knn"].append(got.classification.metrics[self._folds.metric])
        metric = self._folds.metric
        return Result(
            {
                metric: float(np.mean(values["linear"])),
                f"{metric}_knn": float(np.mean(values["knn"])),
            },
            {},
            {
                "draws": values["linear"],
                "draws_knn": values["knn"],
                "std": float(np.std(values["linear"], ddof=draws > 1)),
                "std_knn": float(np.std(values["knn"], ddof=draws > 1)),
            },
            got.classification.counts,
            "",
            np.empty(0, np.int64),
            np.empty(0),
            None,
        )

    def _measured(
        self, linear: Linear, rows: Features, *, interval: bool = True
    ) -> Result:
        if self.several:
            logits = linear.logits(rows.features)  # all: their order is the score
            return self._of_several(logits, self._targets(rows), rows.ids, interval)
        names = self._folds.class_names
        ranking = rank_by(linear.logits, rows.features, len(names))
        found = classification(
            ranking,
            rows.labels,
            len(names),
            class_names=names,
            images=self._folds.test.num_examples if interval else None,
        )
        return self._of(found, ranking[:, 0], rows, intervals=interval)

    def _of(
        self,
        found: Classification,
        answers: np.ndarray,
        tested: Features,
        *,
        intervals: bool,
    ) -> Result:
        known = tested.labels >= 0
        labels = tested.labels[known]
        credit = (answers[known] == labels).astype(float)
        if self._folds.metric == PER_CLASS:
            there = np.bincount(labels, minlength=len(self._folds.class_names))
            credit /= there[labels] * (there > 0).sum()
        else:
            credit /= len(labels)
        return Result(
            _leading(found.metrics, self._folds.metric),
            found.intervals if intervals else {},
            {},
            found.counts,
            "",
            tested.ids[known],
            credit,
            found.confusion,
        )

    def _of_several(
        self, logits: np.ndarray, targets: np.ndarray, ids: np.ndarray, interval: bool
    ) -> Result:
        metrics, intervals = mean_average_precision(logits, targets, interval=interval)
        asked = targets >= 0
        right = ((logits > 0) == (targets == 1)) & asked
        share = right.sum(axis=1) / np.maximum(asked.sum(axis=1), 1)
        metrics["label_accuracy"] = float(right.sum() / asked.sum())
        images = self._folds.test.num_examples if interval else len(ids)
        counts = Counts(images, len(ids), images - len(ids), classes=targets.shape[1])
        metrics = _leading(metrics, self._folds.metric)
        credit = share / len(ids)
        return Result(metrics, intervals, {}, counts, "", ids, credit, None)


_PROTOCOLS: dict[str, Callable[..., Result]] = {
    "linear": Bench._linear,
    "knn": Bench._knn,
    "few_shot": Bench._few_shot,
}


def _leading(metrics: dict[str, float], first: str) -> dict[str, float]:
    return {first: metrics[first], **metrics}


def _save(file: Path, result: Result) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    plain = {
        "metrics": result.metrics,
        "intervals": result.intervals,
        "found": result.found,
        "counts": dataclasses.asdict(result.counts),
        "note": result.note,
    }
    arrays = {"ids": result.ids, "credit": result.credit}
    if (confusion := result.confusion) is not None:
        plain["names"] = list(confusion.names)
        arrays["confusion"] = np.stack(
            [confusion.truth, confusion.predicted, confusion.count]
        )
    text = np.frombuffer(json.dumps(plain).encode(), np.uint8)
    with replacing(file) as out:
        np.savez(out, json=text, **arrays)


def _load(file: Path) -> Result:
    with np.load(file) as arrays:
        plain = json.loads(arrays["json"].tobytes())
        confusion = None
        if "confusion" in arrays:
            confusion = Confusion(*arrays["confusion"], plain["names"])
        return Result(
            plain["metrics"],
            {name: tuple(ends) for name, ends in plain["intervals"].items()},
            plain["found"],
            Counts(**plain["counts"]),
            plain["note"],
            arrays["ids"],
            arrays["credit"],
            confusion,
        )
