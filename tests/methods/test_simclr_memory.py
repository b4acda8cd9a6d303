"""SimCLR v2's memory against slow NumPy: losses, weights and the queue, step by step.

The network is one matrix, so that NumPy can train it too, by differences of its loss.
"""

import numpy as np
import tensorflow as tf

from tests.methods.one_matrix import PIXELS, as_images, descend, networks, unit
from tests.tiny import tiny
from tfssl import build
from tfssl.core import variables
from tfssl.methods import Batch, KeyNetwork, KeyQueue, SimCLR

ROWS, DIM, STEPS, RATE, T, M, KEYS = 4, 3, 5, 0.3, 0.5, 0.8, 24
START = np.random.default_rng(0).normal(size=[PIXELS, DIM])
VIEWS = np.random.default_rng(1).normal(size=[STEPS, 2, ROWS, PIXELS])


def slow_loss(weight, view1, view2, queue):
    """Twice the paper's mean over 2N anchors, each among 2N - 1 rows and K keys."""
    z = unit(np.concatenate([view1 @ weight, view2 @ weight]))
    total = 0.0
    for i in range(2 * ROWS):
        others = [z[j] for j in range(2 * ROWS) if j != i] + list(queue)
        partner = z[(i + ROWS) % (2 * ROWS)]
        total += np.log(sum(np.exp(z[i] @ o / T) for o in others)) - z[i] @ partner / T
    return total / ROWS


def test_four_steps():
    online = networks(START, listed=True)
    queue = KeyQueue(KEYS, DIM, enqueued=2 * ROWS, seed=4)
    network = KeyNetwork(*networks(START, listed=True), online=online, momentum=M)
    method = SimCLR(*online, temperature=T, memory=(network, queue))
    (weight,) = map(variables.raw, method.trainable_variables)
    followed, memory, keys = START, START, queue.keys.numpy().astype(np.float64)
    for i, (view1, view2) in enumerate(VIEWS):
        memory = M * memory + (1 - M) * followed
        value, followed = descend(
            followed, lambda w, x=(view1, view2, keys): slow_loss(w, *x), RATE
        )
        new = unit(np.concatenate([view1 @ memory, view2 @ memory]))
        keys = keys.copy()
        keys[np.arange(8 * i, 8 * i + 8) % KEYS] = new

        step = tf.constant(i, tf.int64)
        label = tf.fill([ROWS], tf.constant(-1, tf.int64))
        batch = Batch(as_images(VIEWS[i]), label)
        method.before_forward(step)
        with tf.GradientTape() as tape:
            output = method.loss(batch, step)
        weight.assign_sub(RATE * tape.gradient(output.loss, weight))
        method.after_update(step, output.aux)
        np.testing.assert_allclose(output.loss, value, rtol=1e-5)
        np.testing.assert_allclose(weight, followed, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(
            network.projector.get_weights()[0], memory, atol=1e-5
        )
        np.testing.assert_allclose(queue.keys, keys, atol=1e-5)


def test_the_flags_choose():
    plain = build.state(tiny("simclr"), 64, None).method
    assert not any(n.startswith(("key/", "queue/")) for n in plain.checkpoint_items())
    config = tiny("simclr", queue_size=64, ema_momentum=0.75)
    method = build.state(config, 64, None).method
    items = method.checkpoint_items()
    assert items["queue/keys"].shape == (64, 16)
    assert method._memory_network._momentum == 0.75
    roles = {n.split("/")[0] for n in items}
    assert roles == {"online", "key", "queue"}
    assert tiny("simclr", queue_size=64).ema_momentum == 0.999
