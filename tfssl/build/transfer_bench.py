"""What one encoder is worth on one data set: linear, kNN, fine-tuned, few-shot.

Every result is a file in `RUN/transfer/results`, by a digest of all that it depends on:
a command that was stopped goes on, and one more run or data set costs its own time.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tfssl.build.kept_features import KeptFeatures, gathered
from tfssl.build.trained import Trained
from tfssl.build.transfer_finetuning import best_of
from tfssl.build.transfer_folds import Folds
from tfssl.config import Config
from tfssl.config.transfer_sets import SWEEPS, Sweep
from tfssl.data.folds import shots
from tfssl.embeddings.principal import normalized
from tfssl.evaluate import Features, knn, rank_by
from tfssl.evaluate.knn import KnnResult
from tfssl.evaluate.regression import L2_VALUES, Linear, chosen, fit
from tfssl.evaluate.result import Result, of_answers
from tfssl.runs.scores import RAW_PIXELS, UNTRAINED
from tfssl.show import console

FEW_SHOT_L2 = 1.0
"""On features of length 1: scikit-learn's default, as Tian et al. 2020 use it."""

SENTENCES = {
    "linear": "multinomial logistic regression (one-vs-rest for several labels) by "
    "L-BFGS on the features of the resized image's centre, no augmentation; "
    f"{len(L2_VALUES)} L2 values from 1e-6 to 1e5, chosen on validation images, "
    "trained again with those, tested once",
    "finetune": "whole network fine-tuned with crop and flip (SimCLR's B.8.2: SGD "
    "Nesterov 0.9, cosine, batch 256 or all images), learning rate and weight decay "
    "chosen on validation images, trained again with those, tested once",
    "knn": "weighted kNN among all training images",
    "few_shot": "logistic regression (L2 1) on features of length 1 of a few images a "
    "class, and weighted kNN among them; means over draws",
}
"""What the protocols are, for their scores."""

_VERSION = 1  # of what the numbers depend on beside the settings: this file


Asked = Iterator[tuple[str, str, dict[str, Any]]]
"""Protocols with the names of their tables, and their settings."""


def asked(config: Config, folds: Folds) -> Asked:
    """Yields all that fits the data set, but for fine-tuning."""
    yield "linear", "linear", {"l2_values": list(L2_VALUES)}
    if folds.train.several is not None:
        return
    votes = {"k": config.knn_k, "temperature": config.knn_temperature}
    yield "knn", "knn", votes
    labels = folds.train.labels
    if folds.validation is not None:
        labels = np.concatenate([labels, folds.validation.labels])
    smallest = int(np.unique(labels[labels >= 0], return_counts=True)[1].min())
    for count in map(int, config.transfer_shots):
        if count <= smallest:
            more = {"images": count, "draws": config.transfer_draws}
            yield "few_shot", f"few_shot {count}", {**more, **votes}
        else:
            console.say(
                f"{folds.row.name}: no table of {count} images a class, of one class "
                f"there are {smallest}"
            )


def swept(config: Config, key: str) -> Asked:
    """Yields fine-tuning, of an encoder that learns."""
    if config.transfer_sweep == "none" or key == RAW_PIXELS:
        return
    tries = SWEEPS[config.transfer_sweep, key != UNTRAINED]
    more = {"rates": list(tries.rates), "decays": list(tries.decays)}
    sweep: dict[str, Any] = {"sweep": config.transfer_sweep, "steps": tries.steps}
    if config.seed:  # results of 0 are kept without it
        sweep["seed"] = config.seed
    yield "finetune", "finetune", {**sweep, **more}


class Bench:
    """The features of one data set by one encoder, in memory when they are needed.

    Makes those that are missing.

    Args:
      config: Of the command.
      folds: The data set.
      title: The encoder, for bars.
      run: The encoder.
      kept: Its features.
      folder: Where `results` are kept.
    """

    def __init__(
        self,
        config: Config,
        folds: Folds,
        title: str,
        run: Trained,
        kept: KeptFeatures,
        folder: Path,
    ):
        self._config, self._folds, self._folder = config, folds, folder
        self._run, title = run, f"{folds.row.name}, {title}"
        self._parts = [(kept.of(folds.train, title), folds.held_out)]
        if folds.validation is not None:  # all its rows come last
            shards = kept.of(folds.validation, title)
            self._parts.append((shards, folds.validation.ids))
        self._tested = kept.of(folds.test, title)
        self._loaded: tuple[Features, int, Features] | None = None
        names = folds.targets(folds.test.ids, folds.test.labels)
        own = hashlib.sha256(np.ascontiguousarray(names).tobytes())
        for writer, last in self._parts:
            own.update(writer.folder.name.encode() + np.sort(last).tobytes())
        if folds.train.several is not None:  # which the folders do not know
            for source in filter(None, (folds.train, folds.validation)):
                own.update(folds.targets(source.ids, source.labels).tobytes())
        own.update(f"{self._tested.folder.name} {folds.metric} {_VERSION}".encode())
        self._own = own.hexdigest()

    def result(self, protocol: str, settings: dict[str, Any]) -> Result:
        """Measures, or reads what was measured before.

        Args:
          protocol: `"linear"`, `"knn"`, `"finetune"` or `"few_shot"`.
          settings: Of it; all that may differ.
        """
        key = json.dumps([self._own, protocol, settings], sort_keys=True)
        file = self._folder / "results" / f"{protocol}-{_digest(key)}.npz"
        if not file.exists():
            _PROTOCOLS[protocol](self, **settings).save(file)
        return Result.load(file)

    @property
    def several(self) -> bool:
        """Whether images have several labels."""
        return self._folds.train.several is not None

    def _features(self) -> tuple[Features, int, Features]:
        """Features to learn from, how many are before those to choose with; tested."""
        if self._loaded is None:
            every, first, count = gathered(self._parts, unlabelled=self.several)
            nothing = np.empty(0, np.int64)
            tested, _, _ = gathered([(self._tested, nothing)], unlabelled=True)
            self._loaded = every[:count], first, tested
        return self._loaded

    def _targets(self, features: Features) -> np.ndarray:
        return self._folds.targets(features.ids, features.labels)

    def _linear(self, l2_values: list[float]) -> Result:
        """The papers' linear classifier."""
        fit_, first, tested = self._features()
        targets, classes = self._targets(fit_), len(self._folds.class_names)
        held_out = fit_[first:]

        def score(linear: Linear) -> float:
            return self._value(linear, held_out)

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
        got = self._vote(fit_, tested, k, temperature)
        found = of_answers(
            got.classification, got.predictions, tested, self._folds.metric
        )
        return dataclasses.replace(found, found={"k": got.k}, note=got.note)

    def _finetune(
        self,
        sweep: str,
        steps: int,
        rates: list[float],
        decays: list[float],
        seed: int = 0,
    ) -> Result:
        """The papers' fine-tuning of the whole network."""
        key = json.dumps([self._own, steps, rates, decays, *[seed][: bool(seed)]])
        folder = self._folder / "finetune" / _digest(key)
        tries = Sweep(steps, tuple(rates), tuple(decays))
        return best_of(self._config, self._run, self._folds, tries, folder)

    def _few_shot(self, images: int, draws: int, k: int, temperature: float) -> Result:
        """Means over draws of some images a class, by a linear classifier and kNN."""
        fit_, _, tested = self._features()
        classes = len(self._folds.class_names)
        unit_tested = dataclasses.replace(tested, features=normalized(tested.features))
        values: dict[str, list[float]] = {"linear": [], "knn": []}
        for draw in range(draws):
            rows = shots(fit_.labels, fit_.ids, images, draw)
            part = fit_[rows]
            unit = normalized(part.features)
            linear = fit(unit, part.labels, FEW_SHOT_L2, classes=classes)
            values["linear"].append(self._value(linear, unit_tested))
            got = self._vote(part, tested, k, temperature)
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

    def _vote(self, bank: Features, tested: Features, k: int, t: float) -> KnnResult:
        names, images = self._folds.class_names, self._folds.test.num_examples
        return knn(bank, tested, k=k, temperature=t, num_classes=len(names),
                   class_names=names, images=images)  # fmt: skip

    def _value(self, linear: Linear, rows: Features) -> float:
        """The leading metric."""
        measured = self._measured(linear, rows, interval=False)
        return measured.metrics[self._folds.metric]

    def _measured(
        self, linear: Linear, rows: Features, *, interval: bool = True
    ) -> Result:
        images = self._folds.test.num_examples if interval else len(rows)
        if self.several:
            said = linear.logits(rows.features)  # all: their order is the score
        else:
            classes = len(self._folds.class_names)
            said = rank_by(linear.logits, rows.features, classes)
        table = dataclasses.replace(rows, features=said)
        return self._folds.measured(table, images, interval)


_PROTOCOLS: dict[str, Callable[..., Result]] = {
    "linear": Bench._linear,
    "knn": Bench._knn,
    "finetune": Bench._finetune,
    "few_shot": Bench._few_shot,
}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
