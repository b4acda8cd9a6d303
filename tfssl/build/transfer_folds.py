"""Opens a data set to transfer to: what is trained on, chosen with, and scored."""

from __future__ import annotations

import dataclasses

import numpy as np

from tfssl.build import data, trained
from tfssl.config import Config
from tfssl.config.transfer_sets import MAP, TOP1, TransferSet, chosen_sets
from tfssl.data import Source, not_asked, require_labels, targets_of
from tfssl.data.folds import validation_rows, validation_rows_of_several
from tfssl.errors import DataError, NotPreparedError, message
from tfssl.evaluate import Features, classification
from tfssl.evaluate.result import Result, of_answers, of_scores
from tfssl.show import console

_TENTH = 0.1
"""Of the training images of one's own sets, to choose the L2 value with."""


@dataclasses.dataclass(frozen=True)
class Folds:
    """One data set, opened and found to be fit.

    Attributes:
      row: Its row in the table.
      spec: The `--dataset` of it that is there.
      train: Training images, those of `held_out` among them.
      validation: The images to choose with, or None.
      held_out: Ids of the images of `train` to choose with, where there is none.
      test: The images to score.
      metric: The leading one.
      note: How it differs from the papers'; "" if it does not.
    """

    row: TransferSet
    spec: str
    train: Source
    validation: Source | None
    held_out: np.ndarray
    test: Source
    metric: str
    note: str

    @property
    def class_names(self) -> tuple[str, ...]:
        """Of the labels."""
        several = self.train.several
        return several.class_names if several else tuple(self.train.class_names)

    def targets(self, ids: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Returns what rows of features have: labels `[n]`, or int8 `[n, classes]`."""
        if self.train.several is None:
            return labels
        sources = [s for s in (self.train, self.validation, self.test) if s is not None]
        known = np.concatenate([source.ids for source in sources])
        names = self.class_names
        targets = np.concatenate([targets_of(s, s.ids, names) for s in sources])
        order = np.argsort(known)
        return targets[order[np.searchsorted(known[order], ids)]]

    def measured(self, table: Features, images: int, interval: bool = True) -> Result:
        """Scores a classifier's answers by the metric of the data set.

        Args:
          table: The ranked classes of some images, see `evaluate.ranked`; or all
            logits, where they have several labels.
          images: As many as there are, with those that could not be read.
          interval: Whether intervals are computed.
        """
        names = self.class_names
        if self.train.several is not None:
            targets = self.targets(table.ids, table.labels)
            return of_scores(
                table, targets, self.metric, images=images, interval=interval
            )
        found = classification(
            table.features, table.labels, len(names), class_names=names, images=images
        )
        answers = table.features[:, 0]
        return of_answers(found, answers, table, self.metric, interval=interval)


def sets_there(config: Config) -> tuple[list[TransferSet], list[dict[str, str]]]:
    """Opens every data set, to find what is wrong before the first step.

    Returns:
      Those that are there; name, reason and cure of those that are not.

    Raises:
      DataError: None is there, or one has no labels or a class with too few images.
      CheckpointError: One of `--transfer_runs` is no run, or without weights.
    """
    sets, missing = [], []
    for path in config.transfer_runs:
        trained.load(path)  # refused, if it is no run that can be loaded
    for row in chosen_sets(config.transfer, config.data_dir):
        try:
            folds = open_folds(config, row)
            for images in filter(None, (folds.train, folds.validation, folds.test)):
                data.require_readable(images, instead="another data set")
            sets.append(row)
        except NotPreparedError as error:
            why = str(error)
            missing.append({"name": row.name, "why": why, "prepare": row.prepare})
            console.say(f"{row.name} is passed over, it is not there: {row.prepare}")
        data.how_read()  # lets go of it: the twelve do not fit into memory together
    if not sets:
        names = ", ".join(each["name"] for each in missing)
        raise DataError(
            message(
                f"transfer={','.join(config.transfer)}, of which nothing is there",
                f"at least one of {names} on this machine",
                missing[0]["prepare"],
            )
        )
    return sets, missing


def open_folds(config: Config, row: TransferSet) -> Folds:
    """Opens the splits of a data set.

    Raises:
      NotPreparedError: It is not on this machine.
      DataError: Labels are missing, or a class has too few images.
    """
    spec, train = _training(config, row)
    tfds = spec.startswith("tfds:")
    of_papers = row.test > 0
    if of_papers and tfds:
        test = _open(config, spec, row.tests, train)
    else:
        splits = ("test", "validation") if tfds else ("test",)
        test = _first(config, spec, splits, train)
    validation, why = _validation(config, row, spec, train, test)
    what = f"transfer={row.name}"
    several = train.several
    if several is None:
        require_labels(train, what)
    if (several is None) != (test.several is None) or not _labelled(test):
        raise DataError(
            message(
                f"{test.name} without labels of the classes of {train.name}",
                "test images labelled as the training images are",
                "another data set",
            )
        )
    for other in filter(None, (test, validation) if several else ()):
        targets_of(other, other.ids[:1], several.class_names)  # refused, if it has none
    held_out = np.empty(0, np.int64)
    if validation is None:
        share = row.validation / (row.train + row.validation) if of_papers else _TENTH
        labelled = len(train.ids) if several else int((train.labels >= 0).sum())
        count = max(round(share * labelled), 1)
        if several:
            rows = validation_rows_of_several(several, train.ids, count, train.name)
        else:
            rows = validation_rows(
                train.labels, train.ids, count, train.class_names, train.name
            )
        held_out = train.ids[rows]
    metric = row.metric or (MAP if several else TOP1)
    own = train.num_examples + (validation.num_examples if validation else 0)
    sizes = own, test.num_examples
    papers = row.train + row.validation, row.test
    note = f"a tenth of the training images validates ({why})" if why else ""
    if of_papers and sizes != papers:
        note = (
            f"{sizes[0]:,} images to train on and {sizes[1]:,} to test; the papers "
            f"have {papers[0]:,} and {papers[1]:,}"
        )
    if several:
        note = "; ".join(filter(None, (note, not_asked(test, several.class_names))))
    return Folds(row, spec, train, validation, held_out, test, metric, note)


def _training(config: Config, row: TransferSet) -> tuple[str, Source]:
    said = ""
    for spec in row.sources:
        try:
            return spec, _open(config, spec, "train")
        except DataError as error:
            if len(row.sources) == 1 and not isinstance(error, NotPreparedError):
                raise
            said = said or str(error)
    raise NotPreparedError(said)


def _validation(
    config: Config, row: TransferSet, spec: str, train: Source, test: Source
) -> tuple[Source | None, str]:
    """The official split to choose with; of one's own sets, where there is one.

    Returns:
      It; or None, and why there is none of one's own.
    """
    if row.test and not row.validates:
        return None, ""
    try:
        found = _open(config, spec, row.validates or "validation", train)
    except DataError as error:
        if row.test:
            raise
        return None, str(error).partition(";")[0]
    # Where there is none, folders and lists answer with what they test on.
    if np.isin(found.ids, test.ids).any():
        return None, "no split of its own"
    return found, ""


def _first(config: Config, spec: str, splits: tuple[str, ...], train: Source) -> Source:
    for split in splits[:-1]:
        try:
            return _open(config, spec, split, train)
        except NotPreparedError:
            raise
        except DataError:
            continue
    return _open(config, spec, splits[-1], train)


def _open(config: Config, spec: str, split: str, train: Source | None = None) -> Source:
    """A split, its labels by the names of the training images' classes."""
    named = dataclasses.replace(config, dataset=spec)
    classes = train.class_names if train is not None else ()
    return data.source(named, split, classes=classes, memory=0)  # nothing is read twice


def _labelled(source: Source) -> bool:
    if source.several is not None:
        return bool((source.several.targets == 1).any())
    return bool((source.labels >= 0).any())
