"""What one encoder is worth on one data set: linear, kNN, fine-tuned, few-shot.

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

from tfssl.build import Trained
from tfssl.build.kept_features import KeptFeatures, gathered
from tfssl.build.transfer_finetuning import best_of
from tfssl.build.transfer_folds import Folds
from tfssl.config import Config
from tfssl.config.transfer_sets import Sweep
from tfssl.data.folds import shots
from tfssl.embeddings.principal import normalized
from tfssl.evaluate import Features, classification, knn, rank_by
from tfssl.evaluate.regression import Linear, chosen, fit
from tfssl.evaluate.result import Result, of_answers, of_scores

FEW_SHOT_L2 = 1.0
"""On features of length 1: scikit-learn's default, as Tian et al. 2020 use it."""

_VERSION = 1  # of what the numbers depend on beside the settings: this file


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
        table, found = best_of(self._config, self._run, self._folds, tries, folder)
        return dataclasses.replace(self._of_ranking(table), found=found)

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
        images = self._folds.test.num_examples if interval else len(rows)
        if self.several:
            logits = linear.logits(rows.features)  # all: their order is the score
            return of_scores(
                dataclasses.replace(rows, features=logits),
                self._targets(rows),
                self._folds.metric,
                images=images,
                interval=interval,
            )
        classes = len(self._folds.class_names)
        ranking = rank_by(linear.logits, rows.features, classes)
        table = dataclasses.replace(rows, features=ranking)
        return self._of_ranking(table, images=images, interval=interval)

    def _of_ranking(
        self, table: Features, *, images: int | None = None, interval: bool = True
    ) -> Result:
        names = self._folds.class_names
        found = classification(
            table.features,
            table.labels,
            len(names),
            class_names=names,
            images=images or self._folds.test.num_examples,
        )
        answers = table.features[:, 0]
        return of_answers(found, answers, table, self._folds.metric, interval=interval)


_PROTOCOLS: dict[str, Callable[..., Result]] = {
    "linear": Bench._linear,
    "knn": Bench._knn,
    "finetune": Bench._finetune,
    "few_shot": Bench._few_shot,
}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
