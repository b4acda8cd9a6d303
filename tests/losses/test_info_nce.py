import numpy as np
import pytest
import tensorflow as tf

from tfssl.losses import (
    info_nce,
    info_nce_accuracy,
    info_nce_batch,
    moco_normalize,
)
from tfssl.losses.info_nce import _queue_logits
from tfssl.methods import KeyQueue


def _unit(x):
    x = np.asarray(x, np.float64)
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)


def _slow(query, key, queue, temperature):
    """Row by row, from the paper's equation 1."""
    losses = []
    for q, k in zip(_unit(query), _unit(key), strict=True):
        terms = [np.exp(q @ other / temperature) for other in queue]
        own = np.exp(q @ k / temperature)
        losses.append(-np.log(own / (own + sum(terms))))
    return np.array(losses)


@pytest.mark.parametrize("tag", ["nce_T0.2", "nce_T0.07"])
def test_three_official_steps(golden, tag):
    kit = golden("moco", "loss_moco")
    s = kit.cases[tag]
    n, d, size, seed = s["n"], s["dim"], s["K"], s["seed"]
    ring = KeyQueue(size, d, enqueued=n, seed=0)
    ring.keys.assign(kit.rule.fixed_unit((d, size), seed, axis=0).T)
    for t, want in enumerate(s["steps"]):
        q = kit.rule.fixed_normal((n, d), seed + 10 * t + 1, 2.0)
        k = q + kit.rule.fixed_normal((n, d), seed + 10 * t + 2, 1.0)
        if t == 0:
            q[0] = 0
            k[1] = 0
        query, keys, queue = tf.constant(q), tf.constant(k), ring.keys.numpy()
        with tf.GradientTape() as tape:
            tape.watch([query, keys])
            per_row = info_nce(query, keys, queue, temperature=s["T"])
            loss = tf.reduce_mean(per_row)
        np.testing.assert_allclose(loss, want["loss"], rtol=1e-5)
        logits = kit.arrays[f"{tag}/logits{t}"].astype(np.float64)
        got = _queue_logits(query, keys, queue, True, None) / s["T"]
        np.testing.assert_allclose(got, logits, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(
            per_row, np.log(np.exp(logits).sum(1)) - logits[:, 0], rtol=1e-4, atol=1e-6
        )
        grad, grad_key = tape.gradient(loss, [query, keys])
        assert grad_key is None
        for row, want_row in zip(grad.numpy(), kit.arrays[f"{tag}/grad{t}"]):  # noqa: B905
            # 1e-4 for tiny gradients: one minus a probability near one, in float32.
            error = np.linalg.norm(row - want_row)
            assert error <= 1e-4 * np.linalg.norm(want_row) + 1e-7
        hits = (logits[:, :1] > logits[:, 1:]).all(1)
        assert float(info_nce_accuracy(query, keys, queue)) == pytest.approx(
            hits.mean()
        )
        ring.write(moco_normalize(keys))
        assert ring.head.numpy() == want["ptr"]
    want = kit.arrays[f"{tag}/queue_after"].T
    np.testing.assert_allclose(ring.keys, want, rtol=1e-5, atol=1e-7)


def test_slow_form_and_gradient_by_differences():
    rng = np.random.default_rng(0)
    q, k = rng.normal(size=(4, 5)), rng.normal(size=(4, 5))
    queue = _unit(rng.normal(size=(7, 5)))
    np.testing.assert_allclose(
        info_nce(q, k, queue, temperature=0.2), _slow(q, k, queue, 0.2), rtol=1e-6
    )
    x = tf.constant(q)
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(info_nce(x, k, queue, temperature=0.2))
    grad = tape.gradient(loss, x).numpy()
    for i, j in [(0, 0), (1, 3), (3, 4)]:
        up, down = q.copy(), q.copy()
        up[i, j] += 1e-5
        down[i, j] -= 1e-5
        slope = (_slow(up, k, queue, 0.2) - _slow(down, k, queue, 0.2)).sum() / 2e-5
        assert grad[i, j] == pytest.approx(slope, rel=1e-5, abs=1e-8)


def test_closed_forms():
    same = np.ones((3, 4), np.float32)
    queue = _unit(np.ones((9, 4))).astype(np.float32)
    np.testing.assert_allclose(
        info_nce(same, same, queue, temperature=0.07), np.full(3, np.log(10)), rtol=1e-5
    )
    e = np.eye(4, dtype=np.float32)
    # A tie is not a hit: a collapsed encoder must not look perfect.
    assert float(info_nce_accuracy(e[:1], e[:1], e)) == 0.0
    np.testing.assert_allclose(
        info_nce(e[:1], e[:1], e[1:], temperature=0.5),
        [np.log(1 + 3 * np.exp(-2.0))],
        rtol=1e-6,
    )
    assert float(info_nce_accuracy(e[:1], e[:1], e[1:])) == 1.0


def test_normalize_off_takes_rows_as_they_are():
    q = np.array([[2.0, 0.0]], np.float32)
    queue = np.array([[0.0, 1.0]], np.float32)
    got = info_nce(q, q, queue, temperature=1.0, normalize=False)
    np.testing.assert_allclose(got, [np.log(1 + np.exp(-4.0))], rtol=1e-5)


def test_no_gradient_reaches_queue():
    q, k = tf.ones([2, 3]), tf.ones([2, 3])
    queue = tf.eye(3)
    with tf.GradientTape() as tape:
        tape.watch(queue)
        loss = tf.reduce_sum(info_nce(q, k, queue, temperature=0.2))
    assert tape.gradient(loss, queue) is None


def test_bfloat16_inputs_give_the_float32_loss_of_their_values():
    rng = np.random.default_rng(3)
    q, k, queue = (tf.cast(rng.normal(size=(n, 8)), tf.bfloat16) for n in (4, 4, 6))
    got = info_nce(q, k, queue, temperature=0.07)
    assert got.dtype == tf.float32
    want = info_nce(*(tf.cast(x, tf.float32) for x in (q, k, queue)), temperature=0.07)
    np.testing.assert_array_equal(got, want)


def test_batch_keys_are_negatives_of_one_another():
    rng = np.random.default_rng(4)
    q, k = rng.normal(size=(6, 5)), rng.normal(size=(6, 5))
    got = info_nce_batch(q, k, temperature=0.3)
    want = [
        _slow(q[i : i + 1], k[i : i + 1], _unit(np.delete(k, i, 0)), 0.3)[0]
        for i in range(6)
    ]
    np.testing.assert_allclose(got, want, rtol=1e-6)
    halves = [
        info_nce_batch(q[r : r + 3], k[r : r + 3], temperature=0.3, key_all=k, offset=r)
        for r in (0, 3)
    ]
    np.testing.assert_allclose(tf.concat(halves, 0), got, rtol=1e-12)
    keys = tf.constant(k)
    with tf.GradientTape() as tape:
        tape.watch(keys)
        loss = tf.reduce_sum(info_nce_batch(q, keys, temperature=0.3))
    assert np.abs(tape.gradient(loss, keys)).max() > 1e-3


def test_compiles_with_static_shapes():
    fn = tf.function(
        lambda q, k, queue: (
            info_nce(q, k, queue, temperature=0.2),
            info_nce_accuracy(q, k, queue),
            info_nce_batch(q, k, temperature=0.2),
        ),
        jit_compile=True,
    )
    rng = np.random.default_rng(5)
    args = [tf.constant(rng.normal(size=(n, 8)), tf.float32) for n in (4, 4, 6)]
    for got, want in zip(fn(*args), fn.python_function(*args), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5)
