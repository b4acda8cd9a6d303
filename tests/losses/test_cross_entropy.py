import numpy as np
import pytest
import tensorflow as tf

from tfssl.losses import labelled_cross_entropy, several_labels_cross_entropy


def slow(label, logits):
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    return [0.0 if c < 0 else -np.log(row[c]) for c, row in zip(label, p, strict=True)]


def test_equals_the_definition_and_is_nothing_without_a_label():
    logits = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    label = np.array([2, -1, 0, 3, -1, 1])
    got = labelled_cross_entropy(tf.constant(label), tf.constant(logits))
    np.testing.assert_allclose(got, slow(label, logits), rtol=1e-5)


def test_no_gradient_without_a_label():
    logits = tf.Variable([[1.0, 2.0], [3.0, -1.0]])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(labelled_cross_entropy(tf.constant([-1, 1]), logits))
    gradient = tape.gradient(loss, logits).numpy()
    assert (gradient[0] == 0).all() and (gradient[1] != 0).all()


def test_halves_of_a_batch_add_up_wherever_the_labels_are():
    logits = tf.constant(np.random.default_rng(1).normal(size=(8, 3)), tf.float32)
    label = tf.constant([0, 1, -1, -1, -1, -1, 2, -1])
    whole = tf.reduce_mean(labelled_cross_entropy(label, logits))
    halves = [
        tf.reduce_mean(labelled_cross_entropy(label[i : i + 4], logits[i : i + 4]))
        for i in (0, 4)
    ]
    np.testing.assert_allclose(whole, sum(halves) / 2, rtol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_several_labels_are_one_logistic_loss_each(smoothing):
    rng = np.random.default_rng(2)
    logits, target = rng.normal(size=(5, 4)) * 3, rng.integers(-1, 2, size=(5, 4))
    want = np.zeros(5)
    for row, column in np.ndindex(5, 4):
        if target[row, column] >= 0:
            t = target[row, column] * (1 - smoothing) + smoothing / 2
            p = 1 / (1 + np.exp(-logits[row, column]))
            want[row] -= t * np.log(p) + (1 - t) * np.log(1 - p)
    got = several_labels_cross_entropy(target, tf.constant(logits), smoothing)
    np.testing.assert_allclose(got, want, rtol=1e-9)
