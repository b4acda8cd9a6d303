"""MoCo's queue, order and shuffle against NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from tests.tiny import tiny
from tfssl import build
from tfssl.core import variables
from tfssl.errors import ConfigError
from tfssl.methods import Batch, KeyQueue


def make(**overrides):
    config = tiny("moco", batch_size=8, queue_size=32, ema_momentum=0.9, **overrides)
    return build.state(config, num_examples=64, num_classes=None).method


def batch():
    views = tf.unstack(tf.random.stateless_uniform([2, 8, 16, 16, 3], [3, 4]))
    return Batch(tuple(views), tf.zeros([8], tf.int64))


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def test_queue_is_a_ring_of_the_newest_keys():
    queue = KeyQueue(6, 2, enqueued=2, seed=0)
    start = queue.keys.numpy()
    np.testing.assert_allclose(np.linalg.norm(start, axis=1), 1, rtol=1e-5)
    for i in range(4):
        queue.write(tf.fill([2, 2], float(i)))
    np.testing.assert_array_equal(queue.keys.numpy()[:, 0], [3, 3, 1, 1, 2, 2])
    assert queue.head.numpy() == 2


@pytest.mark.parametrize("size", [4, 9])
def test_queue_that_does_not_fit_says_what_does(size):
    with pytest.raises(ConfigError, match="queue_size=8"):
        KeyQueue(size if size > 8 else 9, 2, enqueued=8, seed=0)


def test_key_encoder_moves_before_the_forward_pass():
    method = make()
    items = method.checkpoint_items()
    names = [n for n in items if n.startswith("key/") and n.endswith("kernel")]
    for variable in method.trainable_variables:
        variables.raw(variable).assign_add(tf.ones_like(variables.raw(variable)))
    before = {n: items[n].numpy() for n in names}
    method.before_forward(tf.constant(0, tf.int64))
    for n in names:
        query = items[n.replace("key/", "online/")].numpy()
        expected = 0.9 * before[n] + 0.1 * query
        np.testing.assert_allclose(items[n].numpy(), expected, rtol=1e-5, atol=1e-6)


def test_loss_uses_the_queue_before_this_steps_keys():
    method = make()
    data = batch()
    queue = method.checkpoint_items()["queue/keys"].numpy()
    output = method.loss(data, tf.constant(0, tf.int64))

    def embed(encoder, projector, view):
        return unit(projector(encoder(view, training=True), training=True).numpy())

    q = embed(method.encoder, method.projector, data.views[0])
    network = method.key_network
    k = embed(network.encoder, network.projector, data.views[1])
    logits = np.concatenate([np.sum(q * k, -1, keepdims=True), q @ queue.T], 1) / 0.1
    expected = np.mean(np.log(np.exp(logits).sum(1)) - logits[:, 0])
    np.testing.assert_allclose(output.loss, expected, rtol=1e-4)
    method.after_update(tf.constant(0, tf.int64), output.aux)
    after = method.checkpoint_items()["queue/keys"].numpy()
    np.testing.assert_allclose(after[:8], k, atol=1e-5)
    np.testing.assert_array_equal(after[8:], queue[8:])


def test_symmetric_adds_both_directions_and_enqueues_both():
    method = make(symmetric=True)
    output = method.loss(batch(), tf.constant(0, tf.int64))
    assert [keys.shape for keys in output.aux] == [(8, 16)] * 2
    single = make().loss(batch(), tf.constant(0, tf.int64))
    np.testing.assert_allclose(output.aux[1], single.aux[0], atol=1e-5)
    assert output.loss > single.loss


def test_shuffle_changes_groups_but_not_the_order_of_keys():
    """With one group, a shuffle is a permutation and its inverse: nothing changes."""
    plain, shuffled = make(batch_norm_groups=1), make(batch_norm_groups=1)
    shuffled.shuffle = True
    step = tf.constant(3, tf.int64)
    a, b = plain.loss(batch(), step), shuffled.loss(batch(), step)
    np.testing.assert_allclose(a.aux[0], b.aux[0], atol=1e-5)
    grouped, grouped_shuffled = make(batch_norm_groups=4), make(batch_norm_groups=4)
    assert grouped.shuffle
    grouped.shuffle = False
    c, d = grouped.loss(batch(), step), grouped_shuffled.loss(batch(), step)
    assert np.abs(c.aux[0] - d.aux[0]).max() > 1e-3


def test_interleaved_groups_are_those_of_the_cifar_demo():
    """Row i is in group i mod n: rows put in order give the consecutive groups."""
    rows = tf.random.stateless_uniform([8, 16, 16, 3], [3, 4])
    apart = tf.concat([rows[i::4] for i in range(4)], 0)
    groups = {"batch_norm_groups": 4}
    interleaved = make(batch_norm_interleaved=True, **groups).encoder
    consecutive = make(**groups).encoder
    mixed, sorted_ = interleaved(rows, training=True), consecutive(apart, training=True)
    np.testing.assert_allclose(
        tf.concat([mixed[i::4] for i in range(4)], 0), sorted_, rtol=1e-4, atol=1e-5
    )
    assert np.abs(mixed - consecutive(rows, training=True)).max() > 1e-3


def test_tiny_keys_have_norm_one_too():
    """torch floors the norm at 1e-12, SimCLR's and BYOL's codes at 1e-6."""
    method = make()
    *weights, bias = method.key_network.projector.weights
    for weight in weights:
        weight.assign(tf.zeros_like(variables.raw(weight)))
    bias.assign(tf.fill(bias.shape, 1e-8))
    output = method.loss(batch(), tf.constant(0, tf.int64))
    np.testing.assert_allclose(np.linalg.norm(output.aux[0], axis=1), 1, rtol=1e-5)
