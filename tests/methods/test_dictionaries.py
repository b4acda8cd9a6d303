"""MoCo's end-to-end and memory bank dictionaries against slow NumPy, step by step.

The network is one matrix, so that NumPy can train it too, by differences of its loss.
"""

import numpy as np
import pytest
import tensorflow as tf

from tests.methods.one_matrix import PIXELS, as_images, descend, networks, unit
from tests.tiny import tiny
from tfssl import build
from tfssl.core import variables
from tfssl.errors import ConfigError
from tfssl.methods import Batch, EndToEnd, FeatureBank, MemoryBank

ROWS, DIM, STEPS, RATE, T, EXAMPLES, DRAWN = 6, 4, 4, 0.3, 0.2, 9, 7
START = np.random.default_rng(0).normal(size=[PIXELS, DIM])
VIEWS = np.random.default_rng(1).normal(size=[STEPS, 2, ROWS, PIXELS])
# Image 7 twice in one batch, as between two epochs.
INDEX = np.array([[0, 1, 2, 3, 4, 5], [6, 7, 8, 7, 0, 1], [2, 3, 4, 5, 6, 7]] * 2)


def train(method):
    """Losses of plain gradient descent, and the matrix at the end."""
    (weight,) = method.trainable_variables
    losses = []
    for i in range(STEPS):
        step = tf.constant(i, tf.int64)
        label = tf.fill([ROWS], tf.constant(-1, tf.int64))
        batch = Batch(as_images(VIEWS[i]), label, tf.constant(INDEX[i]))
        method.before_forward(step)
        with tf.GradientTape() as tape:
            output = method.loss(batch, step)
        gradient = tape.gradient(output.loss, variables.raw(weight))
        variables.raw(weight).assign_sub(RATE * gradient)
        method.after_update(step, output.aux)
        losses.append(float(output.loss))
    return losses, weight.numpy()


def cross_entropy(positive, negatives):
    logits = np.array([positive, *negatives]) / T
    return np.log(np.sum(np.exp(logits))) - logits[0]


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("shuffle", [False, True])
def test_end_to_end(symmetric, shuffle):
    """Gradients into queries and keys; without groups a shuffle changes nothing."""

    def loss(weight, view1, view2):
        q, k = unit(view1 @ weight), unit(view2 @ weight)
        total = 0.0
        for a, b in [(q, k), (k, q)] if symmetric else [(q, k)]:
            for i in range(ROWS):
                others = [a[i] @ b[j] for j in range(ROWS) if j != i]
                total += cross_entropy(a[i] @ b[i], others) / ROWS
        return total

    weight, want = START, []
    for i in range(STEPS):
        value, weight = descend(weight, lambda w, i=i: loss(w, *VIEWS[i]), RATE)
        want.append(value)
    settings = {"symmetric": symmetric, "shuffle": shuffle}
    got, trained = train(EndToEnd(*networks(START), temperature=T, **settings))
    np.testing.assert_allclose(got, want, rtol=1e-4)
    np.testing.assert_allclose(trained, weight, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("momentum", [0.5, 0.9])
def test_memory_bank(momentum):
    """Losses, the matrix, and every feature of the bank after four steps."""
    bank = FeatureBank(EXAMPLES, DIM, drawn=DRAWN, momentum=momentum, seed=3)
    table = bank.features.numpy().astype(np.float64)
    np.testing.assert_allclose(np.sum(table**2, -1), 1, rtol=1e-5)

    def loss(weight, view, index, drawn):
        total = 0.0
        for row, own in zip(view, index, strict=True):
            q = unit(row @ weight)
            others = [q @ table[d] for d in drawn if d != own]
            total += cross_entropy(q @ table[own], others) / ROWS
        return total

    weight, want = START, []
    for i in range(STEPS):
        view, index = VIEWS[i, 0], INDEX[i]
        drawn = bank.draw(tf.constant(i, tf.int64)).numpy()
        assert set(drawn) & set(index)
        q = unit(view @ weight)
        value, weight = descend(
            weight, lambda w, x=(view, index, drawn): loss(w, *x), RATE
        )
        want.append(value)
        old = table.copy()
        for row in reversed(range(ROWS)):  # the first row of an image stays
            own = index[row]
            table[own] = unit(momentum * old[own] + (1 - momentum) * q[row])
    got, trained = train(MemoryBank(*networks(START), bank, temperature=T))
    np.testing.assert_allclose(got, want, rtol=1e-4)
    np.testing.assert_allclose(trained, weight, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(bank.features.numpy(), table, atol=1e-5)


def test_draws_are_uniform_and_a_function_of_seed_and_step():
    one, same, other = (
        FeatureBank(50, 2, drawn=50, momentum=0.5, seed=seed) for seed in (0, 0, 1)
    )
    steps = tf.range(200, dtype=tf.int64)
    draws = np.stack([one.draw(step) for step in steps])
    np.testing.assert_array_equal(same.draw(steps[7]), draws[7])
    assert (other.draw(steps[7]).numpy() != draws[7]).any()
    assert (draws[7] != draws[8]).any()
    counts = np.bincount(draws.ravel(), minlength=50)
    # 200 of each are expected, with a standard deviation of 14.
    assert len(counts) == 50 and counts.min() > 140 and counts.max() < 260


def test_more_keys_than_images_are_refused():
    config = tiny("moco", dictionary="bank", queue_size=65)
    with pytest.raises(ConfigError, match="queue_size=64"):
        build.state(config, num_examples=64, num_classes=None)


def test_the_flag_chooses():
    made = {
        name: build.state(tiny("moco", **flags), 64, None).method
        for name, flags in {
            "batch": {"dictionary": "batch", "queue_size": None, "symmetric": True},
            "bank": {"dictionary": "bank", "ema_momentum": 0.75},
        }.items()
    }
    assert isinstance(made["batch"], EndToEnd) and made["batch"].symmetric
    assert isinstance(made["bank"], MemoryBank)
    assert made["bank"].bank.momentum == 0.75
    assert made["bank"].checkpoint_items()["bank/features"].shape == (64, 16)
