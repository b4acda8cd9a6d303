"""Neighbours and the flat map of features."""

from __future__ import annotations

import numpy as np
import pytest

from tfssl.show.report import feature_space


def blobs(classes=4, each=20, dim=16):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(classes), each)
    centres = 5 * rng.normal(size=(classes, dim))
    return centres[labels] + rng.normal(size=(len(labels), dim)), labels


def test_neighbours_are_the_nearest_others_by_cosine():
    features, _ = blobs()
    features *= np.random.default_rng(1).uniform(0.1, 10, (len(features), 1))
    queries = np.array([3, 40])
    rows, cosines = feature_space.neighbours(features, queries, 5)
    for query, near, cos in zip(queries, rows, cosines, strict=True):
        all_cos = [
            features[query] @ f / np.linalg.norm(features[query]) / np.linalg.norm(f)
            for f in features
        ]
        expected = [i for i in np.argsort(all_cos)[::-1] if i != query][:5]
        assert near.tolist() == expected
        np.testing.assert_allclose(cos, np.array(all_cos)[expected])


def test_fewer_neighbours_than_asked():
    rows, _ = feature_space.neighbours(np.eye(3), np.array([0]), 5)
    assert sorted(rows[0].tolist()) == [1, 2]


def test_queries_are_spread_over_the_classes():
    labels = np.array([0] * 90 + [1] * 5 + [2] * 5)
    picked = feature_space.choose_queries(labels, 6, 100)
    assert labels[picked].tolist() == [0, 0, 1, 1, 2, 2]
    assert len(set(picked.tolist())) == 6
    again = feature_space.choose_queries(labels, 6, 100)
    np.testing.assert_array_equal(picked, again)
    assert len(feature_space.choose_queries(None, 8, 5)) == 5


@pytest.mark.parametrize(("most", "method"), [(2_000, "t-SNE"), (50, "PCA")])
def test_map_keeps_groups_together_and_is_the_same_twice(monkeypatch, most, method):
    monkeypatch.setattr(feature_space, "MOST_FOR_TSNE", most)
    features, labels = blobs()
    points, name = feature_space.flat_map(features)
    assert name == method and points.shape == (80, 2)
    centres = np.stack([points[labels == c].mean(0) for c in range(4)])
    within = np.linalg.norm(points - centres[labels], axis=1).mean()
    between = np.linalg.norm(centres[:, None] - centres[None], axis=-1).max()
    assert between > 3 * within
    np.testing.assert_array_equal(points, feature_space.flat_map(features)[0])


@pytest.mark.parametrize("features", [np.zeros((30, 8)), np.ones((6, 1)), np.eye(5)])
def test_map_of_poor_features(features):
    points, _ = feature_space.flat_map(features)
    assert points.shape == (len(features), 2)
    assert np.isfinite(points).all()
