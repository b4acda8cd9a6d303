"""Scores of masks: intersection over union of each class, and shares of pixels."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from tfssl.augment.dense import IGNORED
from tfssl.errors import DataError, message
from tfssl.runs.scores import Confusion


class PixelCounts:
    """How many pixels of one class were taken for another, over any number of images.

    Args:
      classes: Number of classes.
      ignored: Pixels of this number in the truth are not counted.

    Attributes:
      matrix: int64 `[classes, classes]`: rows truth, columns prediction.
      images: Images added.
    """

    def __init__(self, classes: int, ignored: int = IGNORED):
        self.matrix = np.zeros((classes, classes), np.int64)
        self.images = 0
        self._ignored = ignored

    def add(self, truth: np.ndarray, predicted: np.ndarray) -> None:
        """Adds one image.

        Args:
          truth: Integers `[h, w]`.
          predicted: Integers `[h, w]`, below `classes`.

        Raises:
          DataError: The shapes differ, or a number is no class.
        """
        classes = len(self.matrix)
        if truth.shape != predicted.shape:
            got = f"a prediction {predicted.shape} of a mask {truth.shape}"
            raise DataError(message(got, "the mask's size", "resizing the logits"))
        known = truth != self._ignored
        pairs = np.stack([truth[known], predicted[known]]).astype(np.int64)
        if pairs.size and not 0 <= pairs.min() <= pairs.max() < classes:
            got = f"classes {pairs.min()} to {pairs.max()}"
            raise DataError(message(got, f"0 to {classes - 1}", "255 for none"))
        found = np.bincount(pairs[0] * classes + pairs[1], minlength=classes**2)
        self.matrix += found.reshape(classes, classes)
        self.images += 1

    def intersection_over_union(self) -> np.ndarray:
        """Of each class, float64 `[classes]`; NaN where it is neither there nor said.

        Pixels that are and are said to be of the class, as a share of those that are
        or are said to be.
        """
        both = np.diag(self.matrix).astype(float)
        either = self.matrix.sum(0) + self.matrix.sum(1) - both
        return np.divide(both, either, out=np.full_like(both, np.nan), where=either > 0)

    def metrics(self) -> dict[str, float]:
        """The scores, each in [0, 1].

        Returns:
          `miou`: the mean of the intersections over unions. A class that is neither in
          the truth nor in a prediction is left out of it; one that is only predicted
          counts, with 0. `pixel_accuracy`: share of pixels that are right.
          `mean_accuracy`: the share of each class's pixels that are right, averaged
          over the classes that are in the truth.

        Raises:
          DataError: Not one pixel has a class.
        """
        total = self.matrix.sum()
        if not total:
            got = f"{self.images} images without a pixel of any class"
            raise DataError(message(got, "masks with classes", "another split"))
        right, there = np.diag(self.matrix), self.matrix.sum(1)
        recall = right[there > 0] / there[there > 0]
        return {
            "miou": float(np.nanmean(self.intersection_over_union())),
            "pixel_accuracy": float(right.sum() / total),
            "mean_accuracy": float(recall.mean()),
        }

    def confusion(self, names: Sequence[str]) -> Confusion:
        """The matrix as a score's confusion; its counts are pixels."""
        truth, predicted = np.nonzero(self.matrix)
        return Confusion(truth, predicted, self.matrix[truth, predicted], tuple(names))


@dataclasses.dataclass(frozen=True)
class ClassScore:
    """One class of a segmentation.

    Attributes:
      name: Of the class.
      pixels: Of it in the truth.
      iou: Its intersection over union; None where it is neither there nor said.
    """

    name: str
    pixels: int
    iou: float | None


def by_class(counts: PixelCounts, names: Sequence[str]) -> list[ClassScore]:
    """The scores of single classes, in their order."""
    pixels = counts.matrix.sum(1).tolist()
    shares = counts.intersection_over_union().tolist()
    return [
        ClassScore(name, n, None if np.isnan(share) else share)
        for name, n, share in zip(names, pixels, shares, strict=True)
    ]
