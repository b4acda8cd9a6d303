"""LAMB by the paper's rule, against algorithm 2 written down in NumPy."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfssl.optim import Lamb, apply_update, build_optimizer

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7


def paper(w, gradients, *, rate, decay, adapted=True):
    """Algorithm 2 of 1904.00962 with phi(x) = x, in float64."""
    w = w.astype(np.float64)
    m = v = np.zeros_like(w)
    for t, g in enumerate(gradients, 1):
        m = BETA_1 * m + (1 - BETA_1) * g
        v = BETA_2 * v + (1 - BETA_2) * g**2
        u = (m / (1 - BETA_1**t)) / (np.sqrt(v / (1 - BETA_2**t)) + EPSILON)
        ratio = 1.0
        if adapted:
            u = u + decay * w
            norms = np.linalg.norm(w), np.linalg.norm(u)
            ratio = norms[0] / norms[1] if min(norms) > 0 else 1.0
        w = w - rate * ratio * u
    return w


def trained(weights, gradients, **settings):
    variables = [tf.Variable(w, name=name) for name, w in weights.items()]
    optimizer = build_optimizer("lamb", 0.01, **settings)
    optimizer.build(variables)
    for step in gradients:
        apply_update(optimizer, [tf.constant(g) for g in step], variables)
    return [v.numpy() for v in variables]


@pytest.mark.parametrize("decay", [0.0, 1e-4, 0.01, 0.5])
def test_the_papers_rule(decay):
    random = np.random.default_rng(0)
    weights = {
        "dense/kernel": random.normal(size=(4, 3)).astype(np.float32),
        "dense/bias": random.normal(size=3).astype(np.float32),
        "new/kernel": np.zeros((2, 2), np.float32),
    }
    gradients = [
        [random.normal(size=w.shape).astype(np.float32) for w in weights.values()]
        for _ in range(20)
    ]
    got = trained(weights, gradients, weight_decay=decay, lamb_decay="paper")
    for i, (name, w) in enumerate(weights.items()):
        want = paper(
            w,
            [step[i] for step in gradients],
            rate=0.01,
            decay=decay,
            adapted="bias" not in name,
        )
        np.testing.assert_allclose(got[i], want, rtol=2e-6, atol=1e-6, err_msg=name)


def test_without_decay_both_rules_are_one():
    random = np.random.default_rng(1)
    weights = {"dense/kernel": random.normal(size=(4, 3)).astype(np.float32)}
    gradients = [[random.normal(size=(4, 3)).astype(np.float32)] for _ in range(20)]
    both = [trained(weights, gradients, lamb_decay=rule) for rule in ("keras", "paper")]
    np.testing.assert_allclose(*both, rtol=1e-6)
    decayed = trained(weights, gradients, weight_decay=0.5, lamb_decay="keras")
    paper_decayed = trained(weights, gradients, weight_decay=0.5, lamb_decay="paper")
    assert np.abs(decayed[0] - paper_decayed[0]).max() > 1e-3


def test_it_is_made_again_with_its_rule():
    made = build_optimizer("lamb", 0.01, weight_decay=0.3, lamb_decay="paper")
    again = keras.optimizers.deserialize(keras.optimizers.serialize(made))
    assert (again.decay, again.get_config()["weight_decay"]) == ("paper", 0.3)


def test_another_rule_is_refused():
    with pytest.raises(ValueError, match="decay='papers'; expected keras or paper"):
        Lamb(0.1, decay="papers")
