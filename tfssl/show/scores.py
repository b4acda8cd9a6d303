"""Scores as a reader meets them: a line, a table of the console, rows of the report.

All of it is a view of lists of `Score`: a protocol, data set, subject or metric that is
not in the tables of spellings below is shown under its own name.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from tfssl.errors import printable
from tfssl.runs.scores import (
    RAW_PIXELS,
    SCRATCH,
    TEACHER,
    TRAINED,
    UNTRAINED,
    Confusion,
    Score,
)

PROTOCOLS = {"knn": "kNN", "finetune": "Fine-tuned", "distill": "Distilled",
             "detect": "Detection", "segment": "Segmentation"}  # fmt: skip
SUBJECTS = {RAW_PIXELS: "Raw pixels", UNTRAINED: "Untrained encoder",
            SCRATCH: "Supervised from scratch", TEACHER: "Teacher",
            TRAINED: "Trained encoder"}  # fmt: skip
METRICS = {"top1": "top-1", "top5": "top-5", "mean_per_class": "mean per class",
           "macro_f1": "macro F1", "map_at_r": "mAP@R",
           "r_precision": "R-precision", "map": "mAP",
           "map_11": "11-point mAP", "ap": "AP", "ap50": "AP50", "ap75": "AP75",
           "ap_small": "AP small", "ap_medium": "AP medium", "ap_large": "AP large",
           "voc_ap50": "VOC AP", "voc_ap50_11": "VOC 11-point AP",
           "miou": "mIoU"}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class RunScores:
    """The scores of one run of a chain.

    Attributes:
      name: `""` for the run itself, else the run's place from there: `"finetune"`.
      scores: The newest last.
      confusions: `Score.key` to the confusion of its predictions.
    """

    name: str
    scores: Sequence[Score]
    confusions: dict[str, Confusion] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class ScoreGroup:
    """Scores to be compared with each other: one protocol on the same images.

    Attributes:
      run: Name of the run in the chain.
      protocol: Name, with the settings that tell it from others of its kind.
      dataset: Empty where a file does not say.
      scores: One a subject, baselines first, the trained encoder last.
    """

    run: str
    protocol: str
    dataset: str
    scores: list[Score]

    @property
    def title(self) -> str:
        """Heading: `"finetune/ · kNN · folder:photos/val"`."""
        run = self.run and f"{self.run}/"
        return " · ".join(filter(None, (run, self.protocol, self.dataset)))


def spelled(name: str, table: dict[str, str]) -> str:
    """Returns the spelling of a table, else the name in words: `"Mean per class"`."""
    words = printable(name)
    if "/" in words:
        return words  # a run's path
    words = words.replace("_", " ")
    return table.get(name) or words[:1].upper() + words[1:]


def subject_title(key: str) -> str:
    """Returns a subject of scores in words; a run's path stays as it is."""
    return spelled(key, SUBJECTS) if key in SUBJECTS else key


def number(metric: float) -> str:
    """Returns a share as `"81.2 %"`, whatever lies outside of [0, 1] as a number."""
    if not math.isfinite(metric):
        return str(metric)
    return f"{100 * metric:.1f} %" if 0 <= metric <= 1 else f"{metric:.4g}"


def score_line(score: Score) -> str:
    """Returns one line: `"kNN top-1 of trained encoder: 81.2 % (top-5 99.0 %, …)"`."""
    leading, *more = [
        (spelled(name, METRICS), number(value)) for name, value in score.metrics.items()
    ]
    rest = [f"{_lower(name)} {value}" for name, value in more]
    rest += [str(score.counts)] if score.counts else []
    return (
        f"{spelled(score.protocol, PROTOCOLS)} {_lower(leading[0])} of "
        f"{_lower(_subject(score))}: {leading[1]} ({', '.join(rest)})"
    )


def groups(chain: Sequence[RunScores]) -> list[ScoreGroup]:
    """Sorts the scores of a chain of runs into tables that can be compared.

    A run keeps the scores of what it began from it as well, for readers of its own
    `results.json`; they stand with the run that they are of.
    """
    out: list[ScoreGroup] = []
    for run in chain:
        inside = [] if run.name else [s for o in chain if o.name for s in o.scores]
        own = [score for score in run.scores if score not in inside]
        found: dict[tuple[str, str], list[Score]] = {}
        for score in own:
            place = (_protocol(score, own), printable(score.dataset))
            found.setdefault(place, []).append(score)
        out += [
            ScoreGroup(run.name, protocol, dataset, sorted(scores, key=_order))
            for (protocol, dataset), scores in found.items()
        ]
    return out


def text_table(chain: Sequence[RunScores]) -> list[tuple[str, ...]]:
    """Returns a table of each score's leading metric, empty without scores.

    Rows are subjects, with run and data set where there are several; columns are
    protocols. The first row is the heading.
    """
    found = groups(chain)
    sets = {group.dataset for group in found if group.dataset}
    columns = list(dict.fromkeys(_column(group) for group in found))
    rows: dict[tuple[str, ...], dict[str, str]] = {}
    for group in found:
        for score in group.scores:
            place = (_subject(score), group.run, group.dataset if len(sets) > 1 else "")
            value = next(iter(score.metrics.values()), math.nan)
            rows.setdefault(place, {})[_column(group)] = number(value)
    # The order of subjects: what is not trained comes first.
    ordered = sorted(rows, key=lambda place: (place[1], place[2], _rank(place[0])))
    body = [
        (" · ".join(filter(None, place)), *(rows[place].get(c, "-") for c in columns))
        for place in ordered
    ]
    return [("", *columns), *body] if body else []


def _lower(words: str) -> str:
    """Returns words inside of a sentence; abbreviations stay."""
    return words if words[1:2].isupper() else words[:1].lower() + words[1:]


def _column(group: ScoreGroup) -> str:
    metric = next(iter(group.scores[-1].metrics), "")
    return f"{group.protocol} {_lower(spelled(metric, METRICS))}"


def _subject(score: Score) -> str:
    return spelled(score.subject, SUBJECTS)


def _rank(subject: str) -> int:
    known = [*SUBJECTS.values()]
    return known.index(subject) if subject in known else len(known)


def _order(score: Score) -> int:
    return _rank(_subject(score))


def _protocol(score: Score, scores: Sequence[Score]) -> str:
    """The protocol's name, with the settings that differ from another score's of it."""
    same = [s.settings for s in scores if s.protocol == score.protocol and s.dataset]
    differing = [
        f"{name.replace('_', ' ')} {printable(value)}"
        for name, value in score.settings.items()
        if len({str(settings.get(name)) for settings in same}) > 1
    ]
    return " ".join([spelled(score.protocol, PROTOCOLS), *differing])
