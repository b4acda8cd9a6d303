"""Accuracy of a classifier, over the images whose label counts."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence

import numpy as np

from tfssl.errors import DataError, message
from tfssl.evaluate.significance import bootstrap
from tfssl.runs.scores import Confusion, Counts

LOGITS = 2**22
"""Logits that are in memory at once, whatever the classes: 16 MB, and 32 of places."""


@dataclasses.dataclass(frozen=True)
class Classification:
    """What a classifier's answers are worth.

    Attributes:
      metrics: Shares in [0, 1]. `top1` and `top5`: images whose label is the best, or
        among the five best, of the ranking. `mean_per_class`: recall, averaged over the
        classes that have an image. `macro_f1`: F1, averaged over the classes that have
        an image or a prediction.
      counts: Of how many images this speaks.
      confusion: Of labels and best answers.
    """

    metrics: dict[str, float]
    counts: Counts
    confusion: Confusion

    @functools.cached_property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """95 % intervals: of shares of images in closed form, else by a bootstrap."""
        images = self.counts.scored
        found = {
            name: interval(round(self.metrics[name] * images), images)
            for name in ("top1", "top5")
        }
        truth, answer = self.confusion.truth, self.confusion.predicted
        classes, right = len(self.confusion.names), truth == answer

        def per_class(cells: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            of = functools.partial(np.bincount, minlength=classes)
            return of(truth, cells), of(answer, cells), of(truth, cells * right)

        def recall(cells: np.ndarray) -> float:
            there, _, hits = per_class(cells)
            return float((hits[there > 0] / there[there > 0]).mean())

        def f1(cells: np.ndarray) -> float:
            there, answered, hits = per_class(cells)
            both = there + answered
            return float((2 * hits[both > 0] / both[both > 0]).mean())

        count = self.confusion.count
        found["mean_per_class"] = bootstrap(count, recall)
        found["macro_f1"] = bootstrap(count, f1)
        return found


def classification(
    ranking: np.ndarray,
    labels: np.ndarray,
    num_classes: int,
    *,
    class_names: Sequence[str] = (),
    images: int | None = None,
) -> Classification:
    """Compares the ranked answers of a classifier with the labels.

    Args:
      ranking: int `[n, 1 to 5]`, classes, the best first; -1 for no answer, which only
        the first column may not hold.
      labels: int `[n]` in [0, classes). -1 (no label) and -2 (a class that training
        lacks) are counted and not scored.
      num_classes: Classes to choose from.
      class_names: One a class; where they end, "class 7" stands for number 7.
      images: In the split, with those that could not be read; n if None.

    Raises:
      DataError: Not one image has a label that counts, or a label is too large.
    """
    known = labelled_rows(labels, num_classes, "held-out")
    counts = Counts.of(labels, num_classes, images)
    ranking, labels = ranking[known], labels[known]
    match = ranking == labels[:, None]
    unnamed = range(len(class_names), num_classes)
    names = [*class_names, *(f"class {i}" for i in unnamed)]
    confusion = Confusion.of(labels, ranking[:, 0], names[:num_classes])
    table = confusion.per_class()
    seen = table["images"] > 0
    answered = np.isin(np.arange(num_classes), confusion.predicted)
    hits = {"top1": int(match[:, 0].sum()), "top5": int(match.any(axis=1).sum())}
    return Classification(
        {
            **{name: count / len(labels) for name, count in hits.items()},
            "mean_per_class": float(table["recall"][seen].mean()),
            "macro_f1": float(table["f1"][seen | answered].mean()),
        },
        counts,
        confusion,
    )


def labelled_rows(labels: np.ndarray, num_classes: int, what: str) -> np.ndarray:
    """Returns bool `[n]`: the rows whose label is one of the classes.

    Args:
      labels: int `[n]`.
      num_classes: Classes.
      what: Names the images in messages: `"training"`, `"held-out"`.

    Raises:
      DataError: There is none, or a label is `num_classes` or more.
    """
    if len(labels) and (highest := int(labels.max())) >= num_classes:
        raise DataError(
            message(
                f"label {highest} among the {what} images",
                f"labels from 0 to {num_classes - 1}",
                "the same classes in the training and the held-out split",
            )
        )
    if not (labels >= 0).any():
        raise DataError(
            message(
                f"no label at all for the {len(labels):,} {what} images",
                "some with the label of a class",
                "a data set with a folder for each class, or what needs no labels: "
                "mode=export or mode=report",
            )
        )
    return np.asarray(labels >= 0)


def rank(logits: np.ndarray, most: int = 5) -> np.ndarray:
    """Returns int64 `[n, min(most, classes)]`: the classes of the highest logits.

    The best comes first; of equal ones the lower class.

    Args:
      logits: `[n, classes]`.
      most: Places.
    """
    most = min(most, logits.shape[1])
    out = np.empty((len(logits), most), np.int64)
    for part in parts(len(logits), logits.shape[1]):
        rows = logits[part]
        best = np.argpartition(-rows, most - 1, axis=1)[:, :most]
        best.sort(axis=1)
        order = np.argsort(-np.take_along_axis(rows, best, 1), axis=1, kind="stable")
        out[part] = np.take_along_axis(best, order, 1)
    return out


def parts(rows: int, numbers: int) -> list[slice]:
    """Returns slices of rows, in order, of about `LOGITS` numbers each.

    Args:
      rows: How many there are.
      numbers: In a row.
    """
    step = max(1, LOGITS // numbers)
    return [slice(start, start + step) for start in range(0, rows, step)]


def rank_by(
    logits: Callable[[np.ndarray], np.ndarray], features: np.ndarray, classes: int
) -> np.ndarray:
    """Returns `rank` of the logits of features, of which a part is in memory.

    Args:
      logits: Features `[m, F]` to logits `[m, classes]`.
      features: `[n, F]`.
      classes: At least 1.
    """
    found = [rank(logits(features[part])) for part in parts(len(features), classes)]
    return np.concatenate(found)


def interval(hits: int, images: int) -> tuple[float, float]:
    """Returns the 95 % interval of a share of independent images (Wilson 1927).

    In closed form, and sound where a bootstrap over images is not: with every image
    right it still says that the next one may be wrong.

    Args:
      hits: In [0, images].
      images: At least 1.
    """
    z2 = 1.959964**2
    centre = (hits + z2 / 2) / (images + z2)
    spread = hits * (images - hits) / images + z2 / 4
    half = float(np.sqrt(z2 * spread)) / (images + z2)
    return max(0.0, centre - half), min(1.0, centre + half)
