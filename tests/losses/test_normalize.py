import numpy as np
import pytest
import tensorflow as tf

from tfssl.losses import MOCO_SQUARED_EPSILON, l2_normalize


def test_rows_have_norm_one_and_keep_their_direction():
    x = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32) * 100
    want = x / np.sqrt((x.astype(np.float64) ** 2).sum(-1, keepdims=True))
    np.testing.assert_allclose(l2_normalize(x), want, rtol=1e-6)


def test_byol_golden(golden):
    kit = golden("byol", "loss_byol")
    s = kit.cases["loss_small"]
    x = kit.rule.fixed_normal((s["n"], s["dim"]), s["seed"])
    x[1] = 0
    np.testing.assert_allclose(
        l2_normalize(x), kit.arrays["loss_small/l2_normalize_p1"], rtol=1e-5, atol=1e-7
    )


@pytest.mark.parametrize(
    ("epsilon", "slope"), [(1e-12, 1e6), (MOCO_SQUARED_EPSILON, 1e12)]
)
def test_zero_row_stays_zero_with_the_finite_gradient_of_the_floor(epsilon, slope):
    x = tf.zeros([2, 3])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = l2_normalize(x, epsilon=epsilon)
        total = tf.reduce_sum(y * [[1.0, 2.0, 3.0]])
    np.testing.assert_array_equal(y, np.zeros([2, 3]))
    np.testing.assert_allclose(
        tape.gradient(total, x), slope * np.array([[1, 2, 3]] * 2), rtol=1e-5
    )


def test_half_precision_is_computed_in_float32():
    x = tf.cast([[3.0, 4.0]], tf.bfloat16)
    y = l2_normalize(x)
    assert y.dtype == tf.float32
    np.testing.assert_allclose(y, [[0.6, 0.8]], rtol=1e-6)
    assert l2_normalize(tf.cast(x, tf.float64)).dtype == tf.float64
