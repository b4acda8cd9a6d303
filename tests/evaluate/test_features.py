"""Every example once, padding dropped, one trace, no NaN."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import tensorflow as tf

from tfssl.errors import DataError, DivergenceError
from tfssl.evaluate import Features, extract_features, rank, ranked


def batches(total=10, batch=4, size=2):
    """Batches of constant images, the image's value being its id / 100."""
    for start in range(0, total, batch):
        ids = np.arange(start, start + batch)
        mask = ids < total
        images = np.broadcast_to(ids[:, None, None, None] / 100, (batch, size, size, 3))
        yield {
            "image": tf.constant(np.where(mask[:, None, None, None], images, np.nan),
                                 tf.float32),
            "label": tf.constant(np.where(mask, ids % 3, -1)),
            "id": tf.constant(np.where(mask, ids, -1)),
            "mask": tf.constant(mask),
        }  # fmt: skip


def test_each_example_once_and_one_trace():
    traces = []

    def encode(images):
        traces.append(images.shape)
        return tf.reduce_mean(images, [1, 2])

    got = extract_features(encode, batches())
    assert len(got) == 10
    assert got.ids.tolist() == list(range(10))
    assert got.labels.tolist() == [i % 3 for i in range(10)]
    np.testing.assert_allclose(
        got.features, np.repeat(np.arange(10)[:, None] / 100, 3, 1), rtol=1e-6
    )
    assert got.features.dtype == np.float32 and got.labels.dtype == np.int64
    assert len(traces) == 1


def test_works_on_a_dataset_and_skips_masked_rows_anywhere():
    mask = [[True, False, True], [False, False, False], [False, True, True]]
    data = tf.data.Dataset.from_tensor_slices(
        {
            "image": tf.reshape(tf.range(9, dtype=tf.float32), [3, 3, 1, 1, 1]),
            "label": tf.zeros([3, 3], tf.int64),
            "id": tf.reshape(tf.range(9, dtype=tf.int64), [3, 3]),
            "mask": mask,
        }
    )
    got = extract_features(lambda x: x[:, 0, 0], data)
    assert got.ids.tolist() == [0, 2, 7, 8]
    assert got.features[:, 0].tolist() == [0, 2, 7, 8]


def test_of_logits_only_the_best_classes_are_kept():
    weights = tf.random.stateless_normal([3, 100_000], [1, 2])

    def logits(images):
        return tf.reduce_mean(images, [1, 2]) @ weights

    tracemalloc.start()
    found = ranked(logits, batches(total=400))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40e6  # of all: 160 MB
    ranking = found.features
    assert ranking.shape == (400, 5) and ranking.dtype == np.int64
    table = extract_features(logits, batches(total=10))
    np.testing.assert_array_equal(ranking[:10], rank(table.features))
    np.testing.assert_array_equal(found.labels[:10], table.labels)


def test_nan_is_an_error_with_advice():
    with pytest.raises(DivergenceError, match="checkpoint.*learning_rate"):
        extract_features(
            lambda x: tf.reduce_mean(x, [1, 2]) / tf.zeros([]), batches(total=4)
        )


def test_feature_map_and_empty_set_are_refused():
    with pytest.raises(DataError, match="pooled"):
        extract_features(lambda x: x, batches())
    with pytest.raises(DataError, match="readable"):
        extract_features(lambda x: x, [])


def test_features_must_align():
    with pytest.raises(DataError, match="3 labels"):
        Features(np.zeros((2, 4), np.float32), np.zeros(3, int), np.zeros(2, int))
