"""Weighted k-nearest-neighbour classification of frozen features.

Protocol of InstDisc (Wu et al. 2018, https://arxiv.org/abs/1805.01978, section 3.4)
with k = 200; MoCo's CIFAR demo runs it with temperature 0.1, InstDisc with 0.07.
Nothing is trained, so it is cheap enough to run during pre-training.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfssl.errors import DataError, message
from tfssl.evaluate.features import Features
from tfssl.evaluate.metrics import Classification, classification, labelled_rows

# 16384 x 2048 similarities are 128 MB, whatever the data set.
TRAIN_CHUNK = 16_384
TEST_CHUNK = 2_048
VOTE_CHUNK = 1_024
VOTES = 2**23  # rows times classes at once: a few tables of 64 MB


@dataclasses.dataclass(frozen=True)
class KnnResult:
    """What the neighbours say about the test set.

    Attributes:
      k: Neighbours really used.
      predictions: int64 `[n]`, the class with the largest vote, also for rows without
        a label.
      classification: What the predictions are worth. A class that no neighbour has is
        not among the best five, also where five would not be reached.
      note: Empty, or what differs from what was asked for.
    """

    k: int
    predictions: np.ndarray
    classification: Classification
    note: str = ""

    @property
    def top1(self) -> float:
        """Share of labelled test images whose class got the largest vote."""
        return self.classification.metrics["top1"]

    @property
    def top5(self) -> float:
        """Share of labelled test images whose class is among the five largest votes."""
        return self.classification.metrics["top5"]


def knn(
    train: Features,
    test: Features,
    *,
    k: int = 200,
    temperature: float = 0.1,
    num_classes: int,
    class_names: Sequence[str] = (),
    images: int | None = None,
) -> KnnResult:
    """Classifies the test features by a weighted vote of their neighbours.

    `score[c] = sum over the k nearest i of class c of exp(cos(test, train_i) / T)`.

    Args:
      train: The bank; its rows without a label have no vote.
      test: The rows to classify, same F; those without a label are not scored.
      k: Neighbours that vote; cut to the size of the bank (the `note` says so).
      temperature: T > 0.
      num_classes: Classes; labels are in [0, num_classes).
      class_names: One a class.
      images: In the test split, with those that could not be read.

    Returns:
      Accuracies and predictions.

    Raises:
      DataError: A set is empty, has no labels, or the two do not fit together.
    """
    _check(train, test, k=k, temperature=temperature)
    votes = labelled_rows(train.labels, num_classes, "training")
    labelled_rows(test.labels, num_classes, "held-out")  # refused before the search
    bank, labels = train.features, train.labels
    if not votes.all():
        bank, labels = bank[votes], labels[votes]
    used = min(k, len(bank))
    similarity, index = nearest(bank, test.features, used)
    ranking = np.empty((len(test), min(5, num_classes)), np.int64)
    chunk = max(1, min(VOTE_CHUNK, VOTES // num_classes))
    for start in range(0, len(test), chunk):
        rows = slice(start, start + chunk)
        scores = vote(similarity[rows], labels[index[rows]], num_classes, temperature)
        # Stable: on a tie the lower class number is first, on every machine.
        order = np.argsort(-scores, axis=1, kind="stable")[:, :5]
        voted = np.take_along_axis(scores, order, axis=1) > 0
        ranking[rows] = np.where(voted, order, -1)
    return KnnResult(
        used,
        ranking[:, 0],
        classification(
            ranking, test.labels, num_classes, class_names=class_names, images=images
        ),
        _note(k, used, num_classes, int((~votes).sum())),
    )


def _note(k: int, used: int, num_classes: int, unlabelled: int) -> str:
    said = []
    if used < k:
        said.append(f"k cut from {k} to the {used} labelled images of the training set")
    if unlabelled:
        said.append(f"{unlabelled} training images without a label have no vote")
    if num_classes == 1:
        said.append("with one class every answer is right")
    return "; ".join(said)


def vote(
    similarity: np.ndarray, labels: np.ndarray, num_classes: int, temperature: float
) -> np.ndarray:
    """Sums the neighbours' votes by class.

    Args:
      similarity: `[n, k]`, cosines of the neighbours.
      labels: int `[n, k]`, their classes.
      num_classes: Classes.
      temperature: T > 0.

    Returns:
      float64 `[n, num_classes]`: `sum exp(similarity / T)`, each row up to a factor.
      Without the factor exp(1/T) leaves float64 below T = 0.0015.
    """
    shifted = np.asarray(similarity, np.float64)
    shifted = shifted - shifted.max(axis=1, keepdims=True)
    weights = np.exp(shifted / temperature)
    rows = len(weights)
    cell = np.arange(rows)[:, None] * num_classes + labels
    votes = np.bincount(cell.ravel(), weights.ravel(), minlength=rows * num_classes)
    return votes.reshape(rows, num_classes)


def nearest(
    train: np.ndarray, test: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the k rows of `train` with the largest cosine to each row of `test`.

    Both sets go by in chunks and only the best k so far are kept, so memory beyond
    the features is about 300 MB plus 8 bytes per kept neighbour. Runs where
    TensorFlow places it: on the GPU if there is one, whose matrix product may round
    to TF32 (cosines differ by about 5e-4 then).

    Args:
      train: float `[n, F]`, n >= k. A memory-mapped file is fine.
      test: float `[m, F]`.
      k: Neighbours, at least 1.

    Returns:
      Similarity float32 `[m, k]`, largest first, and the row in `train` int64
      `[m, k]`; equal similarities in the order of `train`.
    """
    chunks = [slice(i, i + TEST_CHUNK) for i in range(0, len(test), TEST_CHUNK)]
    similarity = [np.empty((len(test[c]), 0), np.float32) for c in chunks]
    index = [np.empty((len(test[c]), 0), np.int64) for c in chunks]
    for start in range(0, len(train), TRAIN_CHUNK):
        bank = tf.constant(_unit(train[start : start + TRAIN_CHUNK]))
        for i, rows in enumerate(chunks):
            found = _merge(_unit(test[rows]), bank, similarity[i], index[i], start, k)
            similarity[i], index[i] = (t.numpy() for t in found)
    return np.concatenate(similarity), np.concatenate(index)


_ROWS = tf.TensorSpec([None, None], tf.float32)
_PLACES = tf.TensorSpec([None, None], tf.int64)


# One trace for the life of the process: kNN is scored again and again while training.
@tf.function(
    input_signature=[
        _ROWS,
        _ROWS,
        _ROWS,
        _PLACES,
        tf.TensorSpec([], tf.int64),
        tf.TensorSpec([], tf.int32),
    ]
)
def _merge(
    queries: tf.Tensor,
    bank: tf.Tensor,
    similarity: tf.Tensor,
    index: tf.Tensor,
    start: tf.Tensor,
    k: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """The best k of those found so far and a chunk of the bank that begins at start."""
    cosines = tf.matmul(queries, bank, transpose_b=True)
    # What was found before stands first: top_k then breaks ties by row number.
    before = tf.shape(similarity)[1]
    similarity = tf.concat([similarity, cosines], axis=1)
    top = tf.math.top_k(similarity, tf.minimum(k, tf.shape(similarity)[1]))
    # A table of row numbers as large as the similarities would cost more than they.
    fresh = start + tf.cast(top.indices - before, tf.int64)
    index = tf.pad(index, [[0, 0], [0, 1]])
    old = tf.gather(index, tf.minimum(top.indices, before), batch_dims=1)
    return top.values, tf.where(top.indices < before, old, fresh)


def _unit(rows: np.ndarray) -> np.ndarray:
    """Divides each row by its norm; the epsilon is torch's, as in MoCo."""
    rows = np.asarray(rows, np.float32)
    norm = np.sqrt(np.einsum("nf,nf->n", rows, rows, dtype=np.float64))
    return (rows / np.maximum(norm, 1e-12)[:, None]).astype(np.float32)


def _check(train: Features, test: Features, *, k: int, temperature: float) -> None:
    for name, part in (("train", train), ("test", test)):
        if not len(part):
            raise DataError(message(f"{name} of 0 rows", "images", "another split"))
    if train.features.shape[1] != test.features.shape[1]:
        raise DataError(
            message(
                f"{train.features.shape[1]} features in the training set and "
                f"{test.features.shape[1]} in the test set",
                "the same encoder for both",
                "extracting both again",
            )
        )
    if k < 1 or not temperature > 0:
        raise DataError(
            message(
                f"k={k}, temperature={temperature}",
                "k at least 1 and a temperature above 0",
                "k=200, temperature=0.1",
            )
        )
