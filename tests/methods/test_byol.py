"""BYOL's target and loss against NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from tests.tiny import tiny
from tfssl import build
from tfssl.core import variables
from tfssl.methods import Batch


def make(**overrides):
    flags = {"batch_size": 8, "train_steps": 100, "ema_momentum": 0.9, **overrides}
    config = tiny("byol", **flags)
    return build.state(config, num_examples=64, num_classes=None).method


def test_target_starts_as_a_copy_and_follows_with_tau():
    method = make()
    items = method.checkpoint_items()
    pairs = [
        (items[name], items[name.replace("target/", "online/")])
        for name in items
        if name.startswith("target/") and name.endswith(("kernel", "gamma", "bias"))
    ]
    assert pairs
    for target, online in pairs:
        np.testing.assert_array_equal(target, online)
    for variable in method.trainable_variables:
        variables.raw(variable).assign_add(tf.ones_like(variables.raw(variable)))
    before = [target.numpy() for target, _ in pairs]
    step = 25
    method.after_update(tf.constant(step, tf.int64), None)
    tau = 1 - (1 - 0.9) * (np.cos(np.pi * step / 100) + 1) / 2
    for old, (target, online) in zip(before, pairs, strict=True):
        expected = tau * old + (1 - tau) * online.numpy()
        np.testing.assert_allclose(target, expected, rtol=1e-5, atol=1e-6)


def test_loss_is_the_sum_of_both_directions():
    method = make()
    views = tf.unstack(tf.random.stateless_uniform([2, 8, 16, 16, 3], [3, 4]))
    loss = method.loss(Batch(tuple(views), tf.zeros([8], tf.int64)), 0).loss.numpy()

    def unit(x):
        return x / np.linalg.norm(x, axis=-1, keepdims=True)

    def online(view):
        z = method.projector(method.encoder(view, training=True), training=True)
        return unit(method.predictor(z, training=True).numpy())

    def target(view):
        features = method.target_encoder(view, training=True)
        return unit(method.target_projector(features, training=True).numpy())

    expected = 0.0
    for a, b in ((0, 1), (1, 0)):
        gap = online(views[a]) - target(views[b])
        expected += np.mean(np.sum(gap**2, -1))
    np.testing.assert_allclose(loss, expected, rtol=1e-4)
    assert 0 <= loss <= 8


def test_batch_norm_sees_one_view_at_a_time():
    """Two forward passes a step: the zero-debias counter grows by two."""
    method = make()
    items = method.checkpoint_items()
    counters = {n: v for n, v in items.items() if n.endswith("counter")}
    views = tf.unstack(tf.random.stateless_uniform([2, 8, 16, 16, 3], [3, 4]))
    method.loss(Batch(tuple(views), tf.zeros([8], tf.int64)), 0)
    assert counters
    assert {int(v.numpy()) for v in counters.values()} == {2}


def targets(method):
    """(target, online) of every weight that follows."""
    items = method.checkpoint_items()
    leaves = ("kernel", "gamma", "beta", "bias")
    names = [n for n in items if n.startswith("target/") and n.endswith(leaves)]
    return [(items[n], items[n.replace("target/", "online/")]) for n in names]


def test_random_target_is_another_draw_of_the_same_law():
    """As the official code, whose target has its own random key."""
    pairs = [p for p in targets(make(target_init="random")) if p[0].shape.rank > 1]
    for target, online in pairs:
        a, b = target.numpy().ravel(), online.numpy().ravel()
        assert abs(np.corrcoef(a, b)[0, 1]) < 0.2
        np.testing.assert_allclose(a.std(), b.std(), rtol=0.2)


@pytest.mark.parametrize("tau", [0.0, 1.0])
def test_target_that_jumps_and_target_that_never_moves(tau):
    """The ends of the paper's table 5a: tau = 0 copies, tau = 1 stays, bit for bit."""
    method = make(ema_momentum=tau, ema_schedule="constant", target_init="random")
    before = [target.numpy() for target, _ in targets(method)]
    method.after_update(tf.constant(3, tf.int64), ())
    for old, (target, online) in zip(before, targets(method), strict=True):
        if tau == 1:
            np.testing.assert_array_equal(target, old)
        else:
            np.testing.assert_allclose(target, online, rtol=1e-6, atol=1e-7)


def test_without_predictor_the_projection_is_compared():
    """With the target a copy and equal views, the loss is 0: nothing to learn."""
    method = make(predictor="none")
    assert not any("predictor" in name for name in method.checkpoint_items())
    view = tf.random.stateless_uniform([8, 16, 16, 3], [3, 4])
    same = Batch((view, view), tf.zeros([8], tf.int64))
    assert method.loss(same, 0).scalars["byol_loss"] < 1e-9
    assert make().loss(same, 0).scalars["byol_loss"] > 0.1
