"""Accuracies against hand-worked cases, slow loops and scikit-learn's."""

import tracemalloc

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    top_k_accuracy_score,
)

from tfssl.errors import DataError
from tfssl.evaluate import classification, rank, rank_by
from tfssl.evaluate.metrics import interval


@pytest.mark.parametrize("k", [1, 3, 7])
def test_top_k_equals_scikit_learn(k):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=[50, 7]), rng.integers(7, size=50)
    want = top_k_accuracy_score(labels, logits, k=k, labels=range(7)) if k < 7 else 1.0
    hit = rank(logits, k) == labels[:, None]
    assert hit.any(1).mean() == pytest.approx(want)


def test_rank_is_a_stable_sort_whatever_the_chunk(monkeypatch):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(37, 9)).astype(np.float32)
    want = [sorted(range(9), key=lambda c: (-row[c], c))[:5] for row in logits]
    np.testing.assert_array_equal(rank(logits), want)
    monkeypatch.setattr("tfssl.evaluate.metrics.LOGITS", 40)
    np.testing.assert_array_equal(rank(logits), want)
    assert rank(np.zeros((2, 3))).tolist() == [[0, 1, 2]] * 2


def test_the_logits_of_all_images_are_never_in_memory():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(300, 4)).astype(np.float32)
    weights = rng.normal(size=(4, 100_000)).astype(np.float32)
    few = rank_by(lambda rows: rows @ weights[:, :50], features, 50)
    np.testing.assert_array_equal(few, rank(features @ weights[:, :50]))
    tracemalloc.start()
    got = rank_by(lambda rows: rows @ weights, features, 100_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 120e6  # all: 120 MB of logits, and 240 of their places
    np.testing.assert_array_equal(got[[0, 299]], rank(features[[0, 299]] @ weights))


def test_a_case_worked_by_hand():
    # Class 0: four images, three right. Class 1: one, wrong. Class 2: none, and one
    # answer. Class 3: neither.
    labels = np.array([0, 0, 0, 0, 1])
    ranking = np.array([[0, 1], [0, 1], [0, 2], [1, 0], [2, 1]])
    got = classification(ranking, labels, 4, class_names=["a", "b"])
    assert got.metrics["top1"] == 3 / 5
    assert got.metrics["top5"] == 1
    assert got.metrics["mean_per_class"] == (3 / 4 + 0) / 2
    f1_of_0 = 2 * 1 * 0.75 / (1 + 0.75)
    assert got.metrics["macro_f1"] == pytest.approx((f1_of_0 + 0 + 0) / 3)
    assert got.confusion.matrix(np.arange(4)).tolist() == [
        [3, 1, 0, 0],
        [0, 0, 1, 0],
        [0, 0, 0, 0],
        [0, 0, 0, 0],
    ]
    assert got.confusion.matrix(np.array([1, 0])).tolist() == [[0, 0], [1, 3]]
    assert got.confusion.mistakes() == [(0, 1, 1), (1, 2, 1)]
    assert got.confusion.names == ["a", "b", "class 2", "class 3"]
    table = got.confusion.per_class()
    assert table["images"].tolist() == [4, 1, 0, 0]
    assert table["recall"].tolist() == [0.75, 0, 0, 0]
    assert table["precision"].tolist() == [1, 0, 0, 0]
    assert str(got.counts) == "5 images"


@pytest.mark.filterwarnings("ignore:A single label", "ignore:y_pred contains")
@pytest.mark.parametrize("classes", [1, 2, 10, 100])
def test_equals_scikit_learn_on_dense_labels(classes):
    rng = np.random.default_rng(classes)
    labels = rng.integers(0, classes, 300)
    right = rng.random(300) < 0.6
    answers = np.where(right, labels, rng.integers(0, classes, 300))
    got = classification(answers[:, None], labels, classes)
    want = {
        "top1": accuracy_score(labels, answers),
        "top5": accuracy_score(labels, answers),
        "mean_per_class": balanced_accuracy_score(labels, answers),
        "macro_f1": f1_score(labels, answers, average="macro"),
    }
    assert got.metrics == pytest.approx(want)
    np.testing.assert_array_equal(
        got.confusion.matrix(np.arange(classes)),
        confusion_matrix(labels, answers, labels=np.arange(classes)),
    )


def test_masked_labels_are_counted_and_never_mistakes():
    labels = np.array([0, -1, 1, -2, -1, 0])
    ranking = np.array([[0], [1], [1], [1], [0], [1]])
    got = classification(ranking, labels, 2, images=9)
    assert got.metrics["top1"] == pytest.approx(2 / 3)
    counts = got.counts
    assert (counts.images, counts.scored, counts.skipped) == (9, 3, 3)
    assert (counts.unlabelled, counts.unknown_classes, counts.classes) == (2, 1, 2)
    assert str(counts) == (
        "3 of 9 images (3 unreadable, 2 without a label, 1 of classes that training "
        "lacks)"
    )


@pytest.mark.parametrize("labels", [[-1, -1], [-2, -1], []])
def test_no_label_at_all_is_an_error(labels):
    labels = np.array(labels, int)
    with pytest.raises(DataError, match="no label at all.*; try "):
        classification(np.zeros((len(labels), 1), int), labels, 2)


@pytest.mark.parametrize(("hits", "images"), [(0, 1), (5, 10), (16, 16), (810, 1000)])
def test_the_interval_holds_the_shares_that_would_not_be_odd(hits, images):
    # Wilson's is the set of shares whose own deviation covers what was seen.
    low, high = interval(hits, images)
    assert 0 <= low <= hits / images <= high <= 1
    for end in {low, high} - {0.0, 1.0}:
        deviation = np.sqrt(end * (1 - end) / images)
        assert abs(hits / images - end) / deviation == pytest.approx(1.959964)


def test_many_classes_need_no_square_table():
    classes = 40_000  # as a square of int64: 12.8 GB
    labels = np.arange(classes)
    got = classification(np.roll(labels, 1)[:, None], labels, classes)
    assert got.metrics["top1"] == 0 and len(got.confusion.count) == classes


def test_intervals_of_what_is_no_share_are_bootstrapped():
    """Two classes, .8 of 400 and .5 of 100 right: half the root of the variances."""
    labels = np.repeat([0, 1], [400, 100])
    right = np.concatenate([np.arange(400) % 5 > 0, np.arange(100) % 2 > 0])
    got = classification(np.where(right, labels, 1 - labels)[:, None], labels, 2)
    assert got.metrics["mean_per_class"] == pytest.approx(0.65)
    spread = np.sqrt(0.8 * 0.2 / 400 + 0.5 * 0.5 / 100) / 2
    low, high = got.intervals["mean_per_class"]
    assert low == pytest.approx(0.65 - 1.96 * spread, abs=0.01)
    assert high == pytest.approx(0.65 + 1.96 * spread, abs=0.01)
    low, high = got.intervals["macro_f1"]
    assert low < got.metrics["macro_f1"] < high < low + 0.15
    assert got.intervals["top1"] == interval(370, 500)
