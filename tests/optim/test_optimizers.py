import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfssl.config.tables import OPTIMIZERS
from tfssl.optim import apply_update, build_optimizer, constant


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_every_optimizer_of_the_table(name):
    w = tf.Variable([[1.0, -2.0]], name="dense/kernel")
    optimizer = build_optimizer(name, 0.01, momentum=0.8, weight_decay=0.1)
    assert isinstance(optimizer, keras.optimizers.Optimizer)
    assert optimizer.name == name
    again = type(optimizer).from_config(optimizer.get_config())
    assert again.get_config() == optimizer.get_config()
    optimizer.build([w])

    def loss():
        return float(tf.reduce_sum(tf.square(w)))

    before = loss()
    for _ in range(3):
        apply_update(optimizer, [2.0 * w], [w])
    assert loss() < before
    assert int(optimizer.iterations.numpy()) == 3


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_default_exclusion(name):
    """With zero gradients only decay moves a weight."""
    names = ["a/kernel", "a/bias", "norm/gamma"]
    weights = [tf.Variable(tf.ones([2, 2]), name=n) for n in names]
    optimizer = build_optimizer(name, 0.1, weight_decay=0.5)
    optimizer.build(weights)
    apply_update(optimizer, [tf.zeros([2, 2])] * 3, weights)
    moved = [bool((w.numpy() != 1).any()) for w in weights]
    assert moved == ([True] * 3 if name == "sgd" else [True, False, False])


def test_function_of_the_step_as_rate():
    w = tf.Variable([0.0])
    rate = functools.partial(constant, peak=1.0, warmup=2)
    optimizer = build_optimizer("sgd", rate, momentum=0.0)
    optimizer.build([w])
    seen = []
    for _ in range(4):
        apply_update(optimizer, [tf.ones([1])], [w])
        seen.append(float(w[0]))
    np.testing.assert_allclose(seen, [0.0, -0.5, -1.5, -2.5])


def test_adamw_is_that_of_keras():
    weights = [tf.Variable([[1.0, 2.0]]) for _ in range(2)]
    ours = build_optimizer("adamw", 0.1, weight_decay=0.3, exclude=())
    theirs = keras.optimizers.AdamW(0.1, weight_decay=0.3)
    ours.build(weights[:1])
    theirs.build(weights[1:])
    for step in range(5):
        g = tf.constant([[1.0 + step, -1.0]])
        apply_update(ours, [g], weights[:1])
        theirs.apply_gradients([(g, weights[1])])
    np.testing.assert_allclose(weights[0], weights[1], rtol=1e-6)


def test_lars_conventions_differ_when_the_rate_changes():
    results = []
    for lr_in_velocity in (None, True, False):
        w = tf.Variable([[1.0, 1.0]])
        rate = functools.partial(constant, peak=1.0, warmup=3)
        optimizer = build_optimizer("lars", rate, lr_in_velocity=lr_in_velocity)
        optimizer.build([w])
        for _ in range(3):
            apply_update(optimizer, [tf.ones([1, 2])], [w])
        results.append(w.numpy())
    np.testing.assert_array_equal(results[0], results[1])
    assert np.abs(results[1] - results[2]).max() > 1e-4


def test_unknown_name():
    with pytest.raises(ValueError, match="optimizer=lasr; .*lars"):
        build_optimizer("lasr", 0.1)
