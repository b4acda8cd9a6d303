"""What a report shows: plain arrays, lists and dicts, any of them missing."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np

from tfssl.config.remote import as_path
from tfssl.errors import DataError, message, printable
from tfssl.runs.scores import scores_of
from tfssl.show.label_curves import Curve
from tfssl.show.scores import RunScores


@dataclasses.dataclass
class ReportData:
    """Everything a page is made of; whatever is missing reads "not measured yet".

    Attributes:
      title: Name of the run, for example its directory.
      created: When the page was made, as it should stand in the footer.
      log: Rows of `log.jsonl` in the order of `step`, see `read_log`. Known fields:
        step, epoch, loss, learning_rate, images_per_second, data_wait (share of the
        time, 0 to 1), gradient_norm, knn_top1; other numbers are drawn as well.
      results: `results.json`: the list `scores`, or what stood in its place before;
        `skipped_files`.
      chain: The scores of this run and of those that began from it; those in `results`
        alone if empty.
      curves: Accuracy against labels, if that was measured.
      flags: Flag name to value.
      views: uint8 `[n, V, S, S, 3]`, the V augmented views of n images.
      features: float `[n, F]` of n held-out images.
      labels: int `[n]`, -1 where unknown.
      images: uint8 `[n, S, S, 3]`, the pictures that the features belong to.
      class_names: Name of label 0, 1, …; numbers are shown where it is too short.
      collapse: Signals of collapse: `std` `[F]`, `mean_std`, `effective_rank`,
        `dimension`, `duplicates` (share), `verdict` (a sentence), `healthy` (bool).
      profile: `profile.json`: `milliseconds` of the parts of one step, `steps` timed.
      skipped: Unreadable files, dicts with `path` and `reason`; added to those in
        `results`.
      pictures: Of each run of the chain that has some, by its name: `heads` and
        `pictures`, see `tfssl.runs.pictures`.
      transfer: Content of `transfer/table.json`, see `tfssl.show.transfer`.
      versions: Software name to version, added to what the page finds itself.
    """

    title: str = ""
    created: str = ""
    log: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    results: dict[str, Any] = dataclasses.field(default_factory=dict)
    chain: list[RunScores] = dataclasses.field(default_factory=list)
    curves: list[Curve] = dataclasses.field(default_factory=list)
    flags: dict[str, Any] = dataclasses.field(default_factory=dict)
    views: np.ndarray | None = None
    features: np.ndarray | None = None
    labels: np.ndarray | None = None
    images: np.ndarray | None = None
    class_names: list[str] = dataclasses.field(default_factory=list)
    collapse: dict[str, Any] | None = None
    profile: dict[str, Any] | None = None
    skipped: list[dict[str, str]] = dataclasses.field(default_factory=list)
    pictures: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    transfer: dict[str, Any] | None = None
    versions: dict[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuses parts that do not belong together."""
        if not self.chain:
            self.chain = [RunScores("", scores_of(self.results))]
        rows = {
            name: len(value)
            for name in ("features", "labels", "images")
            if (value := getattr(self, name)) is not None
        }
        if len(set(rows.values())) > 1:
            got = ", ".join(f"{count} {name}" for name, count in rows.items())
            raise DataError(
                message(got, "one row each per image", "the same images for all three")
            )
        for name, rank in (("views", 5), ("images", 4)):
            value = getattr(self, name)
            if value is not None and (value.ndim != rank or value.dtype != np.uint8):
                raise DataError(
                    message(
                        f"{name} {value.dtype} {value.shape}",
                        f"uint8 with {rank} dimensions",
                        "rounding [0, 1] to [0, 255] first",
                    )
                )

    def label_of(self, row: int) -> int | None:
        """The label of one image, None where it is unknown."""
        if self.labels is None or self.labels[row] < 0:
            return None
        return int(self.labels[row])

    def class_name(self, label: int | None) -> str:
        """The name of a class, its number where it has none, "" for None."""
        if label is None:
            return ""
        named = label < len(self.class_names)
        return printable(self.class_names[label]) if named else f"class {label}"


def read_log(path: object) -> list[dict[str, Any]]:
    """Reads `log.jsonl` while a run may still be writing it.

    Args:
      path: The file, also a URL; a missing one gives no rows.

    Returns:
      One dict per log step, `step` increasing. Lines that are not whole (the last one
      of a run still going, or the end of one that was killed) are left out. Where a
      resumed run repeats steps, the later row stands.
    """
    file = as_path(path)
    if not file.exists():
        return []
    rows: list[dict[str, Any]] = []
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        if not isinstance(row, dict) or not isinstance(row.get("step"), int | float):
            continue
        while rows and rows[-1]["step"] >= row["step"]:
            rows.pop()
        rows.append(row)
    return rows
