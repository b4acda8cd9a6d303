"""The contract of `methods.base`, for every entry of METHODS and their variants."""

import numpy as np
import pytest
import tensorflow as tf

from tests.tiny import tiny
from tfssl import build
from tfssl.config.methods import METHODS
from tfssl.core import variables
from tfssl.methods import BYOL, Batch, EndToEnd, MemoryBank, Method, MoCo, SimCLR

ROWS = 8
VARIANTS = {
    "byol+no predictor": {"predictor": "none"},
    "byol+random target": {"target_init": "random"},
    "moco+interleaved": {"batch_norm_groups": 4, "batch_norm_interleaved": True},
    "moco+batch": {"dictionary": "batch", "queue_size": None, "symmetric": True},
    "moco+bank": {"dictionary": "bank"},
    **{f"{name}+group_ws": {"normalization": "group_ws"} for name in sorted(METHODS)},
    **{f"{name}+none": {"normalization": "none"} for name in sorted(METHODS)},
    "simclr+memory": {"queue_size": 64},
}
# What moves before the forward pass and after the update, by role in the checkpoint.
MOVES = {
    "byol": (set(), {"target"}),
    "simclr": (set(), set()),
    "simclr+memory": ({"key"}, {"queue"}),
    "moco": ({"key"}, {"queue"}),
    "moco+batch": (set(), set()),
    "moco+bank": (set(), {"bank"}),
}
# The variants in the slow set: each builds its networks anew.
CASES = [
    *sorted(METHODS),
    *(pytest.param(name, marks=pytest.mark.slow) for name in VARIANTS),
]


def made(variant, **more):
    settings = {"batch_size": ROWS, **VARIANTS.get(variant, {}), **more}
    config = tiny(variant.partition("+")[0], **settings)
    return build.state(config, num_examples=64, num_classes=10)


@pytest.fixture(scope="module", params=CASES)
def case(request):
    state = made(request.param)
    views = tf.random.stateless_uniform([2, ROWS, 16, 16, 3], [1, 2])
    rows = tf.range(ROWS, dtype=tf.int64)
    batch = Batch(tuple(tf.unstack(views)), rows % 10, 5 * rows)
    return request.param, state, batch


def has_statistics(state):
    """Whether there is BatchNorm, whose statistics a forward pass moves."""
    return any(n.endswith("moving_mean") for n in state.method.checkpoint_items())


def snapshot(method):
    return {name: v.numpy().copy() for name, v in method.checkpoint_items().items()}


def changed(before, after):
    return {n for n in before if not np.array_equal(before[n], after[n])}


def gradients(method, batch, step=0):
    raw = [variables.raw(v) for v in method.trainable_variables]
    with tf.GradientTape() as tape:
        output = method.loss(batch, tf.constant(step, tf.int64))
    return output, tape.gradient(output.loss, raw)


def test_is_a_method(case):
    name, state, _ = case
    assert isinstance(state.method, Method)
    method, _, variant = name.partition("+")
    variants = {"batch": EndToEnd, "bank": MemoryBank}
    classes = {"byol": BYOL, "simclr": SimCLR, "moco": MoCo}
    assert isinstance(state.method, variants.get(variant, classes[method]))


def test_loss_is_finite_and_every_trainable_variable_gets_a_gradient(case):
    _, state, batch = case
    output, grads = gradients(state.method, batch)
    assert np.isfinite(output.loss.numpy())
    names = [variables.path(v) for v in state.method.trainable_variables]
    missing = [n for n, g in zip(names, grads, strict=True) if g is None]
    assert not missing


def test_nothing_but_the_online_network_is_trainable(case):
    _, state, _ = case
    items = state.method.checkpoint_items()
    trainable = {id(variables.raw(v)) for v in state.method.trainable_variables}
    roles = {n.split("/")[0] for n, v in items.items() if id(v) in trainable}
    assert roles == {"online", "probe"}


def test_only_batch_norm_has_statistics(case):
    name, state, _ = case
    other = name.endswith(("+group_ws", "+none"))
    assert has_statistics(state) == (not other)


def test_no_gradient_reaches_target_key_or_queue(case):
    _, state, batch = case
    items = state.method.checkpoint_items()
    still = [v for n, v in items.items() if n.split("/")[0] in ("target", "key")]
    still += [v for n, v in items.items() if n in ("queue/keys", "bank/features")]
    with tf.GradientTape() as tape:
        tape.watch(still)
        loss = state.method.loss(batch, tf.constant(0, tf.int64)).loss
    assert all(g is None for g in tape.gradient(loss, still))


def test_no_gradient_reaches_the_encoder_from_the_probe(case):
    name, state, batch = case
    method = state.method
    _, with_labels = gradients(method, batch)
    unlabelled = batch._replace(label=-tf.ones_like(batch.label))
    _, without = gradients(method, unlabelled)
    count = len(method.encoder.trainable_variables)
    for a, b in zip(with_labels[:count], without[:count], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert np.abs(with_labels[-1]).max() > 0, name


def test_forward_moves_only_statistics_and_update_only_what_it_says(case):
    name, state, batch = case
    method = state.method
    step = tf.constant(1, tf.int64)
    for v in method.trainable_variables:
        variables.raw(v).assign_add(0.01 * tf.ones_like(variables.raw(v)))
    start = snapshot(method)
    method.before_forward(step)
    before_forward = snapshot(method)
    output = method.loss(batch, step)
    after_loss = snapshot(method)
    method.after_update(step, output.aux)
    end = snapshot(method)

    trainable = {v.name for v in method.trainable_variables}
    assert trainable
    statistics = ("moving_mean", "moving_variance", "counter")
    first, last = MOVES.get(name, MOVES[name.partition("+")[0]])
    assert {n.split("/")[0] for n in changed(start, before_forward)} == first
    moved = changed(before_forward, after_loss)
    assert bool(moved) == has_statistics(state)
    assert all(n.endswith(statistics) for n in moved)
    assert {n.split("/")[0] for n in changed(after_loss, end)} == last
    assert not any(n.endswith(statistics) for n in changed(after_loss, end))


def test_names_of_the_state_are_unique_and_stable(case):
    _, state, _ = case
    items = state.items()
    assert "step" in items
    assert any(n.startswith("online/encoder/stem_conv") for n in items)
    assert not any("keras" in n or ":" in n for n in items)
    slots = [n for n in items if n.startswith("optimizer/")]
    assert len(slots) >= len(state.method.trainable_variables)


def test_initial_weights_are_a_function_of_the_seed(case):
    first, second, third = (snapshot(made(case[0], seed=n).method) for n in (5, 5, 6))
    assert not changed(first, second)
    assert any("stem_conv/kernel" in n for n in changed(first, third))
