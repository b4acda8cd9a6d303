"""Labels compared by the names of their classes, never by their numbers.

Two splits, or two data sets, number their classes each for itself. The numbers of the
training images rule: whoever scores others brings them into that numbering first, and
what training does not know keeps its name and is counted apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfssl.data.host_table import Numbers
from tfssl.data.source import NO_LABEL, Source
from tfssl.data.subset import Subset
from tfssl.data.text_files import canonical
from tfssl.errors import DataError, message, printable


def renumbered(
    labels: np.ndarray, names: Sequence[str], wanted: Sequence[str]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Brings labels into the numbering of other classes, by name.

    Args:
      labels: int64 `[n]`, in [0, len(names)), or negative: without a label.
      names: Of the classes as `labels` number them.
      wanted: Of the classes as they shall be numbered.

    Returns:
      int64 `[n]`, as `Source.labels`; and the names that `wanted` lacks, of those
      classes that an example has.
    """
    place = {canonical(name): number for number, name in enumerate(wanted)}
    numbers = np.array([place.get(canonical(name), -1) for name in names], np.int64)
    there = np.zeros(len(names), bool)
    there[labels[labels >= 0]] = True
    unknown = np.flatnonzero((numbers < 0) & there)
    numbers[unknown] = NO_LABEL - 1 - np.arange(len(unknown))
    table = np.append(numbers, NO_LABEL)  # the last is that of all without a label
    found = table[np.where(labels >= 0, labels, len(names))]
    return found, tuple(names[place] for place in unknown)


def in_classes(source: Source, wanted: Sequence[str]) -> Source:
    """A data set with its labels in the numbering of other classes.

    Args:
      source: Any, labelled or not.
      wanted: Names of the classes, those of the training images.

    Returns:
      `source` itself where its classes have these names and numbers.
    """
    if list(map(canonical, source.class_names)) == list(map(canonical, wanted)):
        return source
    own = source.labels
    if not source.class_names:
        own = np.full(len(own), NO_LABEL, np.int64)
    strange = own < NO_LABEL
    own = np.where(strange, len(source.class_names) + NO_LABEL - 1 - own, own)
    names = (*source.class_names, *getattr(source, "unknown_classes", ()))
    return _Renumbered(source, *renumbered(own, names, wanted), tuple(wanted))


def every_class(source: Source) -> Source:
    """A data set in which no class is unknown: those come behind the others."""
    unknown = getattr(source, "unknown_classes", ())
    return in_classes(source, (*source.class_names, *unknown)) if unknown else source


def targets_of(source: Source, ids: np.ndarray, wanted: Sequence[str]) -> np.ndarray:
    """The labels of some images that may have several, in other classes' columns.

    Args:
      source: Images with several labels.
      ids: int64 `[n]`, of some of them.
      wanted: Names of the classes, those of the training images.

    Returns:
      int8 `[n, len(wanted)]` as `Several.targets`; -1 for a class it knows nothing of.

    Raises:
      DataError: It has none of these classes.
    """
    known = source.several
    names = () if known is None else tuple(map(canonical, known.class_names))
    columns = [names.index(n) if n in names else -1 for n in map(canonical, wanted)]
    if max(columns, default=-1) < 0:
        raise DataError(
            message(
                f"{source.name} without any of the classes that training images have",
                "several labels an image, of these classes",
                "the held-out images of the same data set",
            )
        )
    order = np.argsort(source.ids)
    rows = known.targets[order[np.searchsorted(source.ids[order], ids)]]
    none = np.full([len(rows), 1], -1, rows.dtype)
    return np.concatenate([rows, none], 1)[:, columns]


def not_asked(source: Source, wanted: Sequence[str]) -> str:
    """Says which of several labels count nowhere, as training has no such class; or "".

    Args:
      source: Images to score, with several labels.
      wanted: Names of the classes, those of the training images.
    """
    several, known = source.several, set(map(canonical, wanted))
    if several is None:
        return ""
    counts = (several.targets > 0).sum(0).tolist()
    lost = [f"{count} of {printable(name)}"
            for name, count in zip(several.class_names, counts, strict=True)
            if count and canonical(name) not in known]  # fmt: skip
    many = f" and {len(lost) - 10} more" if len(lost) > 10 else ""
    what = "labels of classes that training lacks are not asked for"
    return f"{what}: {', '.join(lost[:10])}{many}" if lost else ""


class _Renumbered(Subset):
    """All of a source, with other labels."""

    def __init__(
        self,
        base: Source,
        labels: np.ndarray,
        unknown: tuple[str, ...],
        names: tuple[str, ...],
    ):
        super().__init__(base, base.num_examples, lambda index: index, "")
        self.name = base.name
        self.labels, self.unknown_classes = labels, unknown
        self.class_names, self.num_classes = names, len(names) or None
        self._label_table = Numbers(labels)

    def example(self, index: tf.Tensor) -> dict[str, tf.Tensor]:
        """See `Source.example`."""
        label = self._label_table(index)
        return {**super().example(index), "label": label}
