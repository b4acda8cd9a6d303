"""Weighted kNN against the official CIFAR demo's numbers and a slow oracle."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tfssl.errors import DataError
from tfssl.evaluate import Features, knn, nearest, vote
from tfssl.evaluate import knn as knn_function

GOLDENS = Path(__file__).parents[1] / "goldens" / "moco"


def fixed_normal(shape, seed, std=1.0):
    rng = np.random.Generator(np.random.PCG64(seed))
    return (std * rng.standard_normal(shape)).astype(np.float32)


def unit(x):
    x = np.asarray(x, np.float64)
    norm = np.maximum(np.sqrt((x**2).sum(-1, keepdims=True)), 1e-12)
    return (x / norm).astype(np.float32)


def features(x, labels):
    return Features(np.asarray(x, np.float32), np.asarray(labels, np.int64),
                    np.arange(len(x)))  # fmt: skip


def golden_sets(case):
    """Bank and test set by the rule in the golden file's note."""
    classes, seed = case["classes"], case["seed"]
    centre = fixed_normal((classes, case["dim"]), seed)
    bank_labels = np.random.Generator(np.random.PCG64(seed + 1)).integers(
        0, classes, case["bank"]
    )
    test_labels = np.arange(case["test"]) % classes

    def make(labels, offset):
        shape = (len(labels), case["dim"])
        noise = fixed_normal(shape, seed + offset, case["noise"])
        return features(unit(centre[labels] + noise), labels)

    return make(bank_labels, 2), make(test_labels, 3)


def slow_knn(train, test, k, temperature, classes):
    """One test row at a time, from the formula."""
    ranks = []
    for row in test.features.astype(np.float64):
        cosines = [
            float(row @ t / (np.linalg.norm(row) * np.linalg.norm(t)))
            for t in train.features.astype(np.float64)
        ]
        score = [0.0] * classes
        for i in sorted(range(len(cosines)), key=lambda i: -cosines[i])[:k]:
            score[train.labels[i]] += np.exp(cosines[i] / temperature)
        voted = [c for c in range(classes) if score[c] > 0]
        ranks.append(sorted(voted, key=lambda c: -score[c]))
    top1 = np.mean([r[0] == y for r, y in zip(ranks, test.labels, strict=True)])
    top5 = np.mean([y in r[:5] for r, y in zip(ranks, test.labels, strict=True)])
    return top1, top5, [r[0] for r in ranks]


@pytest.mark.parametrize("tag", ["knn", "knn_k1"])
def test_golden_of_the_official_demo(tag):
    case = json.loads((GOLDENS / "knn_moco.json").read_text())[tag]
    expected = np.load(GOLDENS / "knn_moco.npz")
    train, test = golden_sets(case)
    got = knn(train, test, k=case["k"], temperature=case["T"],
              num_classes=case["classes"])  # fmt: skip
    np.testing.assert_array_equal(got.predictions, expected[f"{tag}/top1"])
    assert got.top1 == pytest.approx(case["accuracy"])

    similarity, index = nearest(train.features, test.features, case["k"])
    scores = vote(similarity, train.labels[index], case["classes"], case["T"])
    official = expected[f"{tag}/scores"]
    np.testing.assert_allclose(
        scores / scores.sum(1, keepdims=True),
        official / official.sum(1, keepdims=True),
        atol=1e-5,
    )
    best = expected[f"{tag}/top5"]
    voted = np.take_along_axis(official, best, axis=1) > 0  # other ranks are arbitrary
    ours = np.argsort(-scores, axis=1, kind="stable")[:, : best.shape[1]]
    np.testing.assert_array_equal(ours[voted], best[voted])
    hits = (best == test.labels[:, None]) & voted
    assert got.top5 == pytest.approx(hits.any(1).mean())


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.1), (7, 0.07), (40, 1.0)])
def test_equals_the_slow_oracle(k, temperature):
    rng = np.random.default_rng(k)
    # Lengths differ by orders of magnitude, so a missing normalisation shows.
    train = features(
        rng.normal(size=(60, 5)) * rng.uniform(0.01, 50, (60, 1)),
        rng.integers(0, 8, 60),
    )
    test = features(rng.normal(size=(25, 5)), rng.integers(0, 8, 25))
    got = knn(train, test, k=k, temperature=temperature, num_classes=8)
    top1, top5, predictions = slow_knn(train, test, k, temperature, 8)
    assert (got.top1, got.top5) == (pytest.approx(top1), pytest.approx(top5))
    assert got.predictions.tolist() == predictions


def test_chunks_do_not_change_the_neighbours(monkeypatch):
    rng = np.random.default_rng(0)
    # Integers make many exact ties, whose order must not depend on the chunks.
    train = rng.integers(-1, 2, (103, 3)).astype(np.float32)
    test = rng.integers(-1, 2, (31, 3)).astype(np.float32)
    whole = nearest(train, test, 9)
    module = __import__("sys").modules[knn_function.__module__]
    monkeypatch.setattr(module, "TRAIN_CHUNK", 7)
    monkeypatch.setattr(module, "TEST_CHUNK", 10)
    monkeypatch.setattr(module, "VOTE_CHUNK", 4)
    parts = nearest(train, test, 9)
    np.testing.assert_allclose(parts[0], whole[0], atol=1e-6)
    assert parts[0].shape == (31, 9)
    np.testing.assert_array_equal(parts[1], whole[1])
    a, b = features(train, np.arange(103) % 4), features(test, np.arange(31) % 4)
    chunked = knn(a, b, k=9, num_classes=4)
    monkeypatch.undo()
    plain = knn(a, b, k=9, num_classes=4)
    np.testing.assert_array_equal(chunked.predictions, plain.predictions)
    assert (chunked.top1, chunked.top5) == (plain.top1, plain.top5)


def test_k_is_cut_to_the_bank_and_says_so():
    train = features(np.eye(3), [0, 1, 2])
    got = knn(train, train, k=200, num_classes=3)
    assert got.k == 3
    assert "200" in got.note and "3" in got.note
    assert got.top1 == 1.0
    assert knn(train, train, k=2, num_classes=3).note == ""


def test_tiny_temperature_does_not_overflow():
    # Both cosines give exp(9999); only their difference decides.
    train = features([[1, 0.01], [1, 0]], [0, 1])
    test = features([[1, 0], [1, 0.01]], [1, 0])
    got = knn(train, test, k=2, temperature=1e-4, num_classes=2)
    assert got.predictions.tolist() == [1, 0]


def test_a_class_without_a_vote_is_not_among_the_five():
    train = features(np.eye(6), range(6))
    test = features(np.roll(np.eye(6), 1, axis=0), range(6))
    assert knn(train, test, k=1, num_classes=6).top5 == 0.0


@pytest.mark.parametrize(
    ("train_labels", "test_labels", "words"),
    [
        ([-1, -1, -1], [0, 1, 1], "no label at all for the 3 training images"),
        ([0, 1, 1], [-1, -2, -1], "no label at all for the 3 held-out images"),
        ([0, 1, 9], [0, 1, 1], "label 9"),
        ([0, 1, 1], [0, 1, 3], "label 3 among the held-out images"),
    ],
)
def test_no_label_or_one_too_large(train_labels, test_labels, words):
    with pytest.raises(DataError, match=words) as error:
        knn(features(np.eye(3), train_labels), features(np.eye(3), test_labels),
            num_classes=3)  # fmt: skip
    assert "; try " in str(error.value)
    # Nothing is advised that the program does not have, or that has dashes.
    assert "embed" not in str(error.value) and "--" not in str(error.value)


def test_rows_without_a_label_neither_vote_nor_count():
    # Row 1 is the nearest of the second query: if it voted, class -1 would be class 2.
    train = features([[1, 0, 0], [0, 1, 0], [0, 0.9, 0.1]], [0, -1, 1])
    test = features([[1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1]], [0, 1, -1, -2])
    got = knn(train, test, k=1, num_classes=3, images=7)
    assert got.predictions.tolist() == [0, 1, 1, 1]
    assert got.top1 == got.top5 == 1.0
    counts = got.classification.counts
    assert (counts.images, counts.scored, counts.skipped) == (7, 2, 3)
    assert (counts.unlabelled, counts.unknown_classes) == (1, 1)
    assert "1 training images without a label" in got.note


def test_one_image_and_one_class():
    one = features([[1.0, 0]], [0])
    got = knn(one, one, num_classes=1)
    assert got.top1 == 1.0 and "every answer is right" in got.note


def test_other_feature_size_is_refused():
    with pytest.raises(DataError, match="same encoder"):
        knn(features(np.eye(3), [0, 1, 2]), features(np.eye(4), [0, 1, 2, 0]),
            num_classes=3)  # fmt: skip
