"""`--linear_features=cached`: linear evaluation on features that are made once."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np

from tfssl.build.kept_features import KeptFeatures, gathered
from tfssl.build.trained import Trained
from tfssl.config import Config
from tfssl.config.flagfile import to_flagfile
from tfssl.data import Source
from tfssl.data.folds import validation_rows
from tfssl.evaluate import Features, classification, rank_by
from tfssl.evaluate.regression import L2_VALUES, Linear, chosen
from tfssl.runs import RunDirectory
from tfssl.show import console

NOTHING = np.empty(0, np.int64)


def evaluate(
    config: Config,
    subject: Trained,
    data: Source,
    evaluation: Source,
    own: RunDirectory,
) -> tuple[Linear, Features, dict[str, Any]]:
    """Fits logistic regression by L-BFGS to features of the images' centres.

    45 L2 values, as in transfer; chosen on a tenth of each class, trained again with
    them. `own/features` keeps the features: a command that was stopped goes
    on, and the next one with the same encoder and images begins with them.

    Arguments and returns: as of `linear_augmented.evaluate`.
    """
    own.write_atomic(own.flags, to_flagfile(config))
    started = time.monotonic()
    kept = KeptFeatures(config, subject, Path(own.path) / "features")
    last, title = held_out(data), f"{data.name}, {subject.title}"
    seen = [(kept.of(data, title), last)]
    if config.linear_flips:
        title = f"{data.name}, mirrored, {subject.title}"
        seen.append((kept.of(data, title, mirrored=True), last))
    train, first, count = gathered(seen)
    shards = kept.of(evaluation, f"{evaluation.name}, {subject.title}")
    test, _, _ = gathered([(shards, NOTHING)], unlabelled=True)
    made = time.monotonic()
    classes = data.num_classes

    def accuracy(linear: Linear) -> float:
        rows = train[first:count]
        ranking = rank_by(linear.logits, rows.features, classes)
        return classification(ranking, rows.labels, classes).metrics["top1"]

    fit = train[:count]
    l2, linear, _ = chosen(fit.features, fit.labels, first, accuracy, classes=classes)
    ranking = rank_by(linear.logits, test.features, classes)
    console.say(
        f"linear, cached features: {made - started:.1f} s for those of "
        f"{data.num_examples + evaluation.num_examples:,} images, "
        f"{time.monotonic() - made:.1f} s for {len(L2_VALUES)} classifiers"
    )
    fraction = config.text("label_fraction")
    flips = ", also mirrored" if config.linear_flips else ""
    words = {
        "settings": {
            "features": "cached",
            "flips": config.linear_flips,
            "label_fraction": fraction,
        },
        "found": {"l2": l2, "converged": linear.converged},
        "description": "multinomial logistic regression by L-BFGS on kept features of "
        f"the centres of {data.num_examples} images{flips} (label fraction {fraction}),"
        f" L2 {l2:g} (best of {len(L2_VALUES)} on {count - first} held-out rows)",
    }
    return linear, dataclasses.replace(test, features=ranking), words


def held_out(data: Source) -> np.ndarray:
    """Chooses the ids of a tenth of the labelled images, of each class at least one.

    Raises:
      DataError: A class has one image only.
    """
    count = max(round(int((data.labels >= 0).sum()) / 10), 1)
    rows = validation_rows(data.labels, data.ids, count, data.class_names, data.name)
    return data.ids[rows]
