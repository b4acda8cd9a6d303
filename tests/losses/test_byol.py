import numpy as np
import tensorflow as tf

from tfssl.evaluate import rank
from tfssl.losses import byol_regression
from tfssl.methods.online_probe import probe_loss


def _inputs(kit):
    s = kit.cases["loss_small"]
    p1, p2, z1, z2 = (
        kit.rule.fixed_normal((s["n"], s["dim"]), s["seed"] + i, scale)
        for i, scale in enumerate((1.0, 3.0, 0.5, 1.0))
    )
    p1[1] = 0
    z2[2] = 0
    p2[3] *= 1e-7
    z1[4] = p2[4]
    return p1, p2, z1, z2


def test_official_values_and_gradient(golden):
    kit = golden("byol", "loss_byol")
    p1, p2, z1, z2 = (tf.constant(x) for x in _inputs(kit))
    with tf.GradientTape() as tape:
        tape.watch([p1, z1, z2])
        one, two = byol_regression(p1, z2), byol_regression(p2, z1)
        loss = tf.reduce_mean(one + two)
    a = kit.arrays
    np.testing.assert_allclose(one, a["loss_small/per_row_12"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(two, a["loss_small/per_row_21"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(loss, kit.cases["loss_small"]["loss"], rtol=1e-5)
    grad, grad_z1, grad_z2 = tape.gradient(loss, [p1, z1, z2])
    want = a["loss_small/grad_p1"]
    for row, want_row in zip(grad.numpy(), want, strict=True):  # row 1 is huge
        assert np.linalg.norm(row - want_row) <= 1e-5 * np.linalg.norm(want_row) + 1e-8
    assert grad_z1 is None and grad_z2 is None


def test_official_cross_entropy_and_accuracy(golden):
    kit = golden("byol", "loss_byol")
    s = kit.cases["loss_small"]
    logits = kit.rule.fixed_normal((s["n"], s["classes"]), s["seed"] + 9, 2.0)
    labels = 3 * np.arange(s["n"]) % s["classes"]

    def loss(rows):
        return probe_loss(
            lambda x, training: x, logits[rows], tf.constant(labels[rows])
        )

    per_row = [loss(slice(i, i + 1))[0] for i in range(s["n"])]
    np.testing.assert_allclose(per_row, kit.arrays["loss_small/ce"], rtol=1e-5)
    mean, scalars = loss(slice(None))
    np.testing.assert_allclose(mean, s["ce_mean"], rtol=1e-5)
    hit = rank(logits) == labels[:, None]
    assert float(scalars["probe_accuracy"]) == s["top1"] == hit[:, 0].mean()
    assert hit.any(1).mean() == s["top5"]


def test_closed_forms():
    x = np.random.default_rng(1).normal(size=(4, 6)).astype(np.float32)
    np.testing.assert_allclose(byol_regression(x, 5 * x), np.zeros(4), atol=1e-6)
    np.testing.assert_allclose(byol_regression(x, -x), np.full(4, 4.0), rtol=1e-6)
    e = np.eye(4, dtype=np.float32)
    np.testing.assert_allclose(
        byol_regression(e, np.roll(e, 1, 0)), np.full(4, 2.0), rtol=1e-6
    )


def test_bfloat16_inputs_give_the_float32_loss_of_their_values():
    rng = np.random.default_rng(2)
    p = tf.cast(rng.normal(size=(8, 16)), tf.bfloat16)
    z = tf.cast(rng.normal(size=(8, 16)), tf.bfloat16)
    got = byol_regression(p, z)
    assert got.dtype == tf.float32
    want = byol_regression(tf.cast(p, tf.float32), tf.cast(z, tf.float32))
    np.testing.assert_array_equal(got, want)
