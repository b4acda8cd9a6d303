"""The scores of a run: one list in `results.json`, of which all else is a view.

A score says what was measured (`protocol`), on which images (`dataset`), of what
(`subject`) and how (`settings`). These four are its identity: a new score replaces the
one of the same four, since the newest is of the newest checkpoint. No TensorFlow.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfssl.errors import DataError, message, printable

if TYPE_CHECKING:
    from tfssl.runs.directory import RunDirectory

TRAINED, UNTRAINED, RAW_PIXELS = "trained", "untrained", "raw_pixels"
"""Subjects: the encoder of the run, the same before training, no encoder at all."""

TEACHER, SCRATCH = "teacher", "scratch"
"""Subjects: the network that a distilled run learned from; the same task as a
fine-tuning's, from the seed."""

CONFUSIONS_FILE = "confusions.json"

_LOGGER = logging.getLogger(__name__)
_OLD_METRICS = ("top1", "top5")
_NO_PROTOCOL = ("scores", "baselines", "pretrain", "skipped_files", "convert")


@dataclasses.dataclass(frozen=True)
class Counts:
    """How many images a score speaks of; `images` is the sum of the other counts.

    Attributes:
      images: In the held-out split.
      scored: Read, and with the label of a class that the training images have.
      skipped: Could not be read.
      unlabelled: Have no label.
      unknown_classes: Have the label of a class that the training images lack.
      classes: Classes to choose from, 0 where that is not known.
    """

    images: int
    scored: int
    skipped: int = 0
    unlabelled: int = 0
    unknown_classes: int = 0
    classes: int = 0

    @classmethod
    def of(
        cls, labels: np.ndarray, num_classes: int, images: int | None = None
    ) -> Counts:
        """Counts the labels of the images that could be read.

        Args:
          labels: int `[n]`: -1 without a label, -2 of a class that training lacks.
          num_classes: Classes to choose from.
          images: In the split, n if None.
        """
        unlabelled, unknown = int((labels == -1).sum()), int((labels < -1).sum())
        images = len(labels) if images is None else images
        return cls(
            images=images,
            scored=len(labels) - unlabelled - unknown,
            skipped=images - len(labels),
            unlabelled=unlabelled,
            unknown_classes=unknown,
            classes=num_classes,
        )

    def __str__(self) -> str:
        """Returns `"16 images"`, or `"10 of 16 images (6 unreadable)"`."""
        left_out = [
            f"{count:,} {why}"
            for count, why in (
                (self.skipped, "unreadable"),
                (self.unlabelled, "without a label"),
                (self.unknown_classes, "of classes that training lacks"),
            )
            if count
        ]
        if not left_out:
            return f"{self.images:,} images"
        return f"{self.scored:,} of {self.images:,} images ({', '.join(left_out)})"


@dataclasses.dataclass(frozen=True)
class Score:
    """One measurement.

    Attributes:
      protocol: `"knn"`, `"linear"`, `"finetune"`, …; a key of `results.json`.
      dataset: The held-out images, as the source names itself: `"folder:photos/val"`.
        Empty only in files of versions before this list.
      subject: `TRAINED`, a baseline, or whatever else was measured.
      metrics: Name to value, the leading one first; shares are in [0, 1].
      settings: What was asked for and changes the numbers: k, epochs, label fraction.
      intervals: Metric to the ends of its 95 % interval over images.
      counts: Of how many images it speaks; None in old files.
      found: What came out beside the metrics, for example the learning rate chosen.
      description: The protocol in a sentence.
      note: Empty, or what differs from what was asked for.
      confusion: Of the predictions, in a file of its own: see `confusions_of`.
      checkpoint: Whose weights were scored, seen from the run; empty where no weights
        were, and in old files.
    """

    protocol: str
    dataset: str
    subject: str
    metrics: dict[str, float]
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    counts: Counts | None = None
    found: dict[str, Any] = dataclasses.field(default_factory=dict)
    description: str = ""
    note: str = ""
    confusion: Confusion | None = dataclasses.field(
        default=None, compare=False, repr=False
    )
    checkpoint: str = dataclasses.field(default="", compare=False)

    def __post_init__(self) -> None:
        """Refuses a score of nothing, or under another key of `results.json`."""
        if not self.metrics:
            raise DataError(
                message(
                    f"protocol={self.protocol} without metrics", "one or more", "top1"
                )
            )
        if self.protocol in _NO_PROTOCOL:
            raise DataError(
                message(
                    f"protocol={self.protocol}",
                    "a name that results.json has no other use for",
                    f"another than {', '.join(_NO_PROTOCOL)}",
                )
            )

    @property
    def key(self) -> str:
        """Identity as text: the same for scores that replace each other."""
        settings = json.dumps(self.settings, sort_keys=True)
        dataset = printable(self.dataset)
        return " | ".join([self.protocol, dataset, self.subject, settings])

    def replaces(self, other: Score) -> bool:
        """Tells whether `other` leaves the list when this score joins it.

        Also one of an old file does, which says neither data set nor all settings.
        """
        if not other.dataset:
            return (self.protocol, self.subject) == (other.protocol, other.subject)
        return self.key == other.key


@dataclasses.dataclass(frozen=True)
class Confusion:
    """How often images of one class were taken for another, zeros left out.

    Attributes:
      truth: int64 `[m]`, labels; with `predicted`, each pair once.
      predicted: int64 `[m]`.
      count: int64 `[m]`, images of the pair, at least 1.
      names: One a class.
    """

    truth: np.ndarray
    predicted: np.ndarray
    count: np.ndarray
    names: Sequence[str]

    @classmethod
    def of(
        cls, labels: np.ndarray, predictions: np.ndarray, names: Sequence[str]
    ) -> Confusion:
        """Counts the pairs.

        Args:
          labels: int `[n]`, in [0, classes).
          predictions: int `[n]`, in [0, classes).
          names: One a class.
        """
        pairs = labels.astype(np.int64) * len(names) + predictions
        pairs, count = np.unique(pairs, return_counts=True)
        return cls(pairs // len(names), pairs % len(names), count, names)

    def matrix(self, classes: np.ndarray) -> np.ndarray:
        """Returns int64 `[c, c]` of chosen classes: rows truth, columns predicted."""
        place = np.full(len(self.names), -1)
        place[classes] = np.arange(len(classes))
        rows, columns = place[self.truth], place[self.predicted]
        inside = (rows >= 0) & (columns >= 0)
        out = np.zeros([len(classes)] * 2, np.int64)
        out[rows[inside], columns[inside]] = self.count[inside]
        return out

    def per_class(self) -> dict[str, np.ndarray]:
        """Returns `images`, `recall`, `precision` and `f1`, each `[classes]`.

        Recall is the accuracy on the images of a class. Where a ratio has nothing below
        the line (no image, no prediction) it is 0.
        """
        from sklearn.metrics import precision_recall_fscore_support

        precision, recall, f1, images = precision_recall_fscore_support(
            self.truth,
            self.predicted,
            sample_weight=self.count,
            labels=np.arange(len(self.names)),
            zero_division=0,
        )
        return {"images": np.rint(images).astype(int), "recall": recall,
                "precision": precision, "f1": f1}  # fmt: skip

    def mistakes(self) -> list[tuple[int, int, int]]:
        """Returns (truth, predicted, images) of wrong pairs, most frequent first."""
        order = np.argsort(-self.count, kind="stable")
        table = np.stack([self.truth, self.predicted, self.count], 1)[order].tolist()
        return [(t, p, n) for t, p, n in table if t != p]


def measured(found: Any) -> dict[str, Any]:
    """What a `Score` takes over from a protocol's result, as its keywords."""
    names = ("metrics", "intervals", "counts", "confusion")
    return {name: getattr(found, name) for name in names}


def scores_of(results: dict[str, Any]) -> list[Score]:
    """Reads the scores out of the content of `results.json`, the newest last.

    Args:
      results: With the list `scores`; or, as written before it: protocols at the top
        and below `baselines`, each a dict with `top1`. What another version wrote in
        a form of its own is left out.
    """
    if isinstance(listed := results.get("scores"), list):
        found = map(_from_json, listed)
        return [score for score in found if score is not None]
    baselines = results.get("baselines") or {}
    return [
        _from_old(protocol, subject, entry)
        for subject, part in (*baselines.items(), (TRAINED, results))
        for protocol, entry in (part or {}).items()
        if isinstance(entry, dict) and isinstance(entry.get("top1"), int | float)
    ]


def add_score(directory: RunDirectory, score: Score, checkpoint: object = None) -> None:
    """Puts a score into `results.json`, and its confusion beside it.

    Readers of the file before there was a list find what they read: under the name of
    each protocol (under `baselines` and the subject, where that is not the trained
    encoder) stands the newest score of it.

    Args:
      directory: Of the run.
      score: Replaces the one of the same protocol, data set, subject and settings.
      checkpoint: The folder of the weights that were scored, if there are some. Scores
        of other ones stay, with a warning: the run was trained on since, or another
        one's weights were scored here.

    Raises:
      RunDirectoryError: The disk is full or not writable.
    """
    if checkpoint:
        place = str(checkpoint).removeprefix(f"{directory.path}/")
        score = dataclasses.replace(score, checkpoint=place)
    with directory.changing_results():
        _add(directory, score)


def _add(directory: RunDirectory, score: Score) -> None:
    before = directory.read_results()
    scores = [s for s in scores_of(before) if not score.replaces(s)]
    old = {each.checkpoint for each in scores if each.checkpoint} - {score.checkpoint}
    if score.checkpoint and old:
        _LOGGER.warning(
            "%s: this score is of %s, others there are of %s",
            directory.results, score.checkpoint, ", ".join(sorted(old)),
        )  # fmt: skip
    scores.append(score)
    there = before.get("scores")
    listed = there if isinstance(there, list) else []
    others = [each for each in listed if _from_json(each) is None]
    listed = others + [_to_json(each) for each in scores]
    newest: dict[str, Any] = {"scores": listed, "baselines": {}}
    for each in scores:
        part = newest
        if each.subject != TRAINED:
            part = newest["baselines"].setdefault(each.subject, {})
        part[each.protocol] = {
            **each.metrics,
            **each.settings,
            **each.found,
            "protocol": each.description,
            "note": each.note,
        }
    if score.confusion is not None:
        tables = confusions_of(directory) | {score.key: score.confusion}
        text = json.dumps(
            {
                key: {
                    "names": [printable(name) for name in table.names],
                    "truth": table.truth.tolist(),
                    "predicted": table.predicted.tolist(),
                    "count": table.count.tolist(),
                }
                for key, table in tables.items()
            }
        )
        directory.write_atomic(directory.path / CONFUSIONS_FILE, text + "\n")
    directory.add_results(newest)


def scored_once(directory: RunDirectory, score: Callable[[], Score]) -> Score:
    """Returns the score of one training of many, made where it is not there yet.

    Args:
      directory: Of that training; its checkpoints go when it has its score.
      score: Trains, and scores.
    """
    if not scores_of(directory.read_results()):
        add_score(directory, dataclasses.replace(score(), confusion=None))
    directory.checkpoint_store().remove_all()
    return scores_of(directory.read_results())[-1]


def confusions_of(directory: RunDirectory) -> dict[str, Confusion]:
    """Reads `confusions.json`: `Score.key` to confusion; empty if there is none."""
    return {
        key: Confusion(
            truth=np.asarray(table["truth"], np.int64),
            predicted=np.asarray(table["predicted"], np.int64),
            count=np.asarray(table["count"], np.int64),
            names=tuple(table["names"]),
        )
        for key, table in directory.read_json(directory.path / CONFUSIONS_FILE).items()
    }


def _to_json(score: Score) -> dict[str, Any]:
    out = dataclasses.asdict(dataclasses.replace(score, confusion=None))
    out["dataset"] = printable(score.dataset)
    return {name: value for name, value in out.items() if value not in ({}, "", None)}


def _from_json(entry: Any) -> Score | None:
    """A score, without what a newer version knows of it; None if it is none."""
    try:
        given = _known(Score, entry)
        given.pop("confusion", None)
        if counts := given.get("counts"):
            given["counts"] = Counts(**_known(Counts, counts))
        intervals = given.get("intervals", {})
        given["intervals"] = {name: tuple(ends) for name, ends in intervals.items()}
        if not all(isinstance(v, int | float) for v in given["metrics"].values()):
            return None
        return Score(**({"dataset": ""} | given))
    except (AttributeError, KeyError, TypeError, DataError):
        return None


def _known(of: type[Any], entry: dict[str, Any]) -> dict[str, Any]:
    names = {field.name for field in dataclasses.fields(of)}
    return {name: value for name, value in entry.items() if name in names}


def _from_old(protocol: str, subject: str, entry: dict[str, Any]) -> Score:
    text = ("protocol", "note")
    numbers = {
        n: entry[n] for n in _OLD_METRICS if isinstance(entry.get(n), int | float)
    }
    rest = {n: v for n, v in entry.items() if n not in (*_OLD_METRICS, *text)}
    return Score(
        protocol,
        "",
        subject,
        numbers,
        rest,
        description=entry.get("protocol", ""),
        note=entry.get("note", ""),
    )
