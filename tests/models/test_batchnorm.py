"""Batch norm against slow NumPy, haiku's and torch's numbers, and two replicas."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfssl.models import BatchNorm


def oracle(x, gamma, beta, epsilon=1e-5):
    """float64: output, mean, biased variance over all axes but the last."""
    x = x.astype(np.float64)
    rows = x.reshape(-1, x.shape[-1])
    mean = rows.sum(0) / len(rows)
    variance = ((rows - mean) ** 2).sum(0) / len(rows)
    return (x - mean) / np.sqrt(variance + epsilon) * gamma + beta, mean, variance


def layer_and_data(shape=(6, 4, 3, 5), dtype=None, **options):
    rng = np.random.default_rng(0)
    x = (rng.normal(size=shape) * 2 + 3).astype(np.float32)
    layer = BatchNorm(dtype=dtype, **options)
    layer.build(shape)
    gamma, beta = rng.uniform(0.5, 1.5, (2, shape[-1])).astype(np.float32)
    if layer.gamma is None:
        gamma = np.ones_like(gamma)
    else:
        layer.gamma.assign(gamma)
    if layer.beta is None:
        beta = np.zeros_like(beta)
    else:
        layer.beta.assign(beta)
    return layer, x, gamma, beta


@pytest.mark.parametrize("shape", [(6, 4, 3, 5), (12, 5)])
@pytest.mark.parametrize("kind", ["biased", "unbiased"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_training_and_inference(shape, kind, dtype):
    layer, x, gamma, beta = layer_and_data(shape, dtype, moving_variance=kind)
    y, mean, variance = oracle(x, gamma, beta)
    np.testing.assert_allclose(layer(x, training=True), y, atol=1e-5)
    n = x.size / x.shape[-1]
    stored = variance * n / (n - 1) if kind == "unbiased" else variance
    moved = 0.1 * mean, 0.9 + 0.1 * stored
    np.testing.assert_allclose(layer.moving_mean.numpy(), moved[0], rtol=1e-6)
    np.testing.assert_allclose(layer.moving_variance.numpy(), moved[1], rtol=1e-6)
    want = (x - moved[0]) / np.sqrt(moved[1] + 1e-5) * gamma + beta
    np.testing.assert_allclose(layer(x), want, atol=1e-5)
    np.testing.assert_allclose(layer.moving_mean.numpy(), moved[0], rtol=1e-6)


@pytest.mark.parametrize("options", [{"center": False}, {"scale": False}])
def test_without_gamma_or_beta(options):
    layer, x, gamma, beta = layer_and_data(**options)
    y, _, _ = oracle(x, gamma, beta)
    np.testing.assert_allclose(layer(x, training=True), y, atol=1e-5)
    assert len(layer.trainable_variables) == 1


def test_epsilon_is_not_raised():
    """`tf.compat.v1.nn.fused_batch_norm` would use at least 1.001e-5."""
    layer, x, gamma, beta = layer_and_data(epsilon=1e-7)
    y, _, _ = oracle(x * 1e-3, gamma, beta, epsilon=1e-7)
    np.testing.assert_allclose(layer(x * np.float32(1e-3), training=True), y, atol=1e-4)


def test_frozen_layer_uses_and_keeps_its_statistics():
    layer, x, gamma, beta = layer_and_data()
    layer.trainable = False
    want = x / np.sqrt(1 + 1e-5) * gamma + beta
    np.testing.assert_allclose(layer(x, training=True), want, atol=1e-5)
    assert not layer.moving_mean.numpy().any()


@pytest.mark.parametrize("training", [False, True])
def test_runs_the_fused_kernel(training):
    layer, x, _, _ = layer_and_data()
    graph = tf.function(lambda t: layer(t, training=training)).get_concrete_function(x)
    kinds = [op.type for op in graph.graph.get_operations()]
    assert kinds.count("FusedBatchNormV3") == 1
    assert "Rsqrt" not in kinds


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("kind", ["biased", "unbiased"])
def test_groups(interleaved, kind):
    groups = 3
    layer, x, gamma, beta = layer_and_data(
        groups=groups, interleaved=interleaved, moving_variance=kind
    )
    rows = np.arange(len(x))
    member = rows % groups if interleaved else rows // (len(x) // groups)
    want, means, variances = np.zeros_like(x, np.float64), [], []
    for g in range(groups):
        part = x[member == g]
        want[member == g], mean, variance = oracle(part, gamma, beta)
        n = part.size / part.shape[-1]
        means.append(mean)
        variances.append(variance * (n / (n - 1) if kind == "unbiased" else 1))
    np.testing.assert_allclose(layer(x, training=True), want, atol=1e-5)
    np.testing.assert_allclose(
        layer.moving_mean.numpy(), 0.1 * np.mean(means, 0), rtol=1e-5
    )
    np.testing.assert_allclose(
        layer.moving_variance.numpy(), 0.9 + 0.1 * np.mean(variances, 0), rtol=1e-5
    )


def test_one_group_is_the_whole_batch():
    whole, x, _, _ = layer_and_data()
    one, _, _, _ = layer_and_data(groups=1)
    np.testing.assert_array_equal(whole(x, training=True), one(x, training=True))


def test_batch_that_groups_do_not_divide():
    layer, x, _, _ = layer_and_data(groups=4)
    with pytest.raises(ValueError, match="got 6 rows per replica for 4 .*batch of 8"):
        layer(x, training=True)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"momentum": 1.0}, "momentum=1.0"),
        ({"groups": -1}, "groups=-1"),
        ({"moving_variance": "other"}, "expected 'biased' or"),
    ],
)
def test_bad_arguments(options, match):
    with pytest.raises(ValueError, match=match):
        BatchNorm(**options)


@pytest.mark.parametrize("options", [{}, {"groups": 2}])
def test_gradient_of_the_kernel_is_that_of_plain_formulas(options):
    single, x, _, _ = layer_and_data(**options)
    double, _, _, _ = layer_and_data(dtype="float64", **options)
    weight = np.random.default_rng(1).normal(size=x.shape)

    def gradients(layer, dtype):
        inputs = tf.constant(x.astype(dtype))
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            y = layer(inputs, training=True)
            loss = tf.reduce_sum(tf.tanh(y) * weight.astype(dtype))
        variables = [v.value for v in layer.trainable_variables]
        return tape.gradient(loss, [inputs, *variables])

    plain = gradients(double, np.float64)
    for a, b in zip(gradients(single, np.float32), plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_mixed_precision_statistics_are_float32():
    layer, x, _, _ = layer_and_data(dtype="mixed_bfloat16")
    x16 = tf.cast(x, tf.bfloat16)
    y = layer(x16, training=True)
    _, mean, variance = oracle(tf.cast(x16, tf.float32).numpy(), 1, 0)
    assert y.dtype == tf.bfloat16
    assert layer.gamma.dtype == "float32"
    np.testing.assert_allclose(layer.moving_mean.numpy(), 0.1 * mean, rtol=1e-5)
    np.testing.assert_allclose(
        layer.moving_variance.numpy(), 0.9 + 0.1 * variance, rtol=1e-5
    )
    # Gamma must reach the kernel unrounded.
    graph = tf.function(layer).get_concrete_function(x16, training=True)
    casts = [o for o in graph.graph.get_operations() if o.type == "Cast"]
    assert all(o.get_attr("DstT") != tf.bfloat16 for o in casts)


def test_zero_debiased_average_matches_haiku(byol_kit):
    case, values = byol_kit.cases["bn"], byol_kit.arrays
    calls, *shape = case["shape"]
    rule = byol_kit.rule
    x = rule.fixed_normal(case["shape"], case["seed"], 2.0) + 1
    layer = BatchNorm(zero_debias=True)
    layer.build(tuple(shape))
    channels = shape[-1]
    params = byol_bn_parameters(x[0], values["bn/train0"])
    layer.gamma.assign(params[0])
    layer.beta.assign(params[1])
    for step in range(calls):
        y = layer(x[step], training=True)
        np.testing.assert_allclose(y, values[f"bn/train{step}"], atol=2e-5)
        for ours, kind in ((layer.moving_mean, "mean"), (layer.moving_variance, "var")):
            want = values[f"bn/step{step}/{kind}_ema/average"].reshape(channels)
            np.testing.assert_allclose(ours.numpy(), want, rtol=2e-5, atol=1e-6)
            hidden = values[f"bn/step{step}/{kind}_ema/hidden"].reshape(channels)
            derived = ours.numpy() * (1 - 0.9 ** layer.counter.numpy())
            np.testing.assert_allclose(derived, hidden, rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(layer(x[0]), values["bn/eval"], atol=2e-5)


def test_average_of_single_values_matches_haiku(byol_kit):
    """The mean of two equal rows is the row, so the layer averages the kit's inputs."""
    case = byol_kit.cases["ema"]
    layer = BatchNorm(case["decay"], zero_debias=True)
    layer.build((2, case["shape"][1]))
    rows = byol_kit.rule.fixed_normal(case["shape"], case["seed"])
    for row, want in zip(rows, case["average"], strict=True):
        layer(np.stack([row, row]), training=True)
        np.testing.assert_allclose(
            layer.moving_mean.numpy(), want, rtol=1e-5, atol=1e-6
        )


def byol_bn_parameters(x, y):
    """The scale and offset behind one recorded call (they are not recorded)."""
    hat, _, _ = oracle(x, 1.0, 0.0)
    lines = [
        np.polyfit(hat[..., c].ravel(), y[..., c].ravel(), 1)
        for c in range(x.shape[-1])
    ]
    return np.asarray(lines, np.float32).T


def test_split_batch_norm_matches_the_cifar_demo(moco_kit):
    case, values, rule = moco_kit.cases["splitbn"], moco_kit.arrays, moco_kit.rule
    channels, size = case["channels"], case["size"]
    layer = BatchNorm(
        groups=case["splits"], interleaved=True, moving_variance="unbiased"
    )
    layer.build((case["n"], size, size, channels))
    layer.gamma.assign(rule.weight("splitbn.weight", (channels,)))
    layer.beta.assign(rule.weight("splitbn.bias", (channels,)))
    for step in range(2):
        shape = (case["n"], channels, size, size)
        x = rule.fixed_normal(shape, case["seed"] + step, 2.0) + np.float32(0.5)
        y = layer(x.transpose(0, 2, 3, 1), training=True)
        want = values[f"splitbn/out{step}"].transpose(0, 2, 3, 1)
        np.testing.assert_allclose(y, want, atol=2e-5)
        np.testing.assert_allclose(
            layer.moving_mean.numpy(), values[f"splitbn/mean{step}"], atol=1e-6
        )
        np.testing.assert_allclose(
            layer.moving_variance.numpy(), values[f"splitbn/var{step}"], rtol=1e-5
        )
    want = values["splitbn/eval"].transpose(0, 2, 3, 1)
    np.testing.assert_allclose(layer(x.transpose(0, 2, 3, 1)), want, atol=2e-5)


def test_config_round_trip():
    layer = BatchNorm(
        0.8,
        1e-3,
        center=False,
        gamma_initializer="zeros",
        groups=4,
        interleaved=True,
        moving_variance="unbiased",
        zero_debias=True,
        name="bn",
    )
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    copy = keras.saving.deserialize_keras_object(config)
    assert copy.get_config() == layer.get_config()


PROGRAM = Path(__file__).with_name("two_replicas_program.py")
ALL = ["global", "global_unbiased", "global_debiased", "two_groups", "four_groups"]


@pytest.mark.parametrize(
    ("communication", "cases"),
    [
        ("default", ["global_debiased", "four_groups", "far"]),
        pytest.param("default", [*ALL, "vectors"], marks=pytest.mark.slow),
        pytest.param("one_device", [*ALL, "vectors", "far"], marks=pytest.mark.slow),
    ],
)
def test_two_replicas_equal_one_big_batch(communication, cases):
    """A fresh process: logical devices are set before TensorFlow starts."""
    repository = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, str(PROGRAM), communication, *cases],
        env={**os.environ, "PYTHONPATH": str(repository), "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["bad_groups"].startswith("got 3 batch norm groups on 2 replicas")
    assert list(report["cases"]) == cases
    for name, errors in report["cases"].items():
        assert errors["copies"] == 0, name
        tolerance = 2e-3 if name == "far" else 5e-6
        assert max(errors.values()) < tolerance, (name, errors)
