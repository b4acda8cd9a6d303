"""Convolution and pooling against loops over pixels, at even and odd sizes."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfssl.models.convolution import Conv, GlobalMean, MaxPool
from tfssl.models.selective_kernel import (
    ShortcutPool,
    StreamMix,
    StreamPool,
    gate_width,
)


def before(size, kernel, stride, padding):
    """Rows of padding above an image."""
    if padding == "symmetric":
        return (kernel - 1) // 2
    out = -(-size // stride)
    return max((out - 1) * stride + kernel - size, 0) // 2


def windows(x, kernel, stride, padding):
    """Yields (image, row, column, window) and pads with zeros as far as needed."""
    count, height, width, _ = x.shape
    top, left = (before(n, kernel, stride, padding) for n in (height, width))
    x = np.pad(x, [(0, 0), (top, kernel), (left, kernel), (0, 0)])
    for n in range(count):
        for i in range(-(-height // stride)):
            for j in range(-(-width // stride)):
                y, z = i * stride, j * stride
                yield n, i, j, x[n, y : y + kernel, z : z + kernel]


def image(height, width, channels=2, seed=0):
    rng = np.random.default_rng(seed)
    return rng.random((2, height, width, channels), dtype=np.float32)


@pytest.mark.parametrize("padding", ["same", "symmetric"])
@pytest.mark.parametrize("kernel", [1, 3, 7])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(8, 8), (7, 10)])
def test_convolution(padding, kernel, stride, size):
    x = image(*size)
    layer = Conv(3, kernel, stride, padding)
    y = layer(x).numpy()
    assert y.shape == layer.compute_output_shape(x.shape)
    weights = layer.kernel.numpy().astype(np.float64)
    for n, i, j, window in windows(x, kernel, stride, padding):
        want = np.einsum("abc,abcd->d", window, weights)
        np.testing.assert_allclose(y[n, i, j], want, atol=1e-5)


def test_bfloat16_takes_no_slow_path_on_cpu():
    layer = Conv(3, 3, 2, "symmetric", dtype="mixed_bfloat16")
    x = image(8, 8)
    low = layer(x).numpy().astype(np.float32)
    plain = Conv(3, 3, 2, "symmetric")
    plain.build(x.shape)
    plain.kernel.assign(layer.kernel.numpy())
    np.testing.assert_allclose(low, plain(x), atol=0.05)
    graph = tf.function(layer).get_concrete_function(tf.cast(x, tf.bfloat16)).graph
    (op,) = (o for o in graph.get_operations() if o.type == "Conv2D")
    assert op.get_attr("padding") == b"VALID"


@pytest.mark.parametrize("padding", ["same", "symmetric"])
@pytest.mark.parametrize("size", [(8, 8), (7, 10)])
def test_max_pool(padding, size):
    x = image(*size)
    layer = MaxPool(padding)
    y = layer(x).numpy()
    assert y.shape == layer.compute_output_shape(x.shape)
    for n, i, j, window in windows(x, 3, 2, padding):
        np.testing.assert_array_equal(y[n, i, j], window.max((0, 1)))


@pytest.mark.parametrize("layer", [Conv, MaxPool])
def test_unknown_padding(layer):
    arguments = (3, 3) if layer is Conv else ()
    with pytest.raises(ValueError, match="got padding='valid'; expected one of"):
        layer(*arguments, padding="valid")


def test_global_mean_sums_in_float32():
    x = np.full((1, 64, 64, 1), 1.0078125, np.float32)  # exact in bfloat16
    assert GlobalMean(dtype="bfloat16")(x).numpy().astype(float) == 1.0078125


@pytest.mark.parametrize("size", [(4, 4), (5, 6)])
def test_shortcut_pool_counts_valid_cells_at_stride_1_only(size):
    x = image(*size)
    count, height, width, _ = x.shape
    y = ShortcutPool(1)(x).numpy()
    for n, i, j in np.ndindex(count, height, width):
        want = x[n, i : i + 2, j : j + 2].mean((0, 1))
        np.testing.assert_allclose(y[n, i, j], want, rtol=1e-5)
    layer = ShortcutPool(2)
    y = layer(x).numpy()
    assert y.shape == layer.compute_output_shape(x.shape)
    for n, i, j in np.ndindex(y.shape[:3]):
        want = x[n, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].sum((0, 1)) / 4
        np.testing.assert_allclose(y[n, i, j], want, rtol=1e-5)


def test_streams_are_pooled_and_mixed_by_a_softmax_over_two():
    x = image(3, 4, channels=6)
    first, second = x[..., :3], x[..., 3:]
    pooled = StreamPool()(x).numpy()
    np.testing.assert_allclose(
        pooled, (first + second).mean((1, 2), keepdims=True), rtol=1e-5
    )
    gates = image(1, 1, channels=6, seed=1) * 4
    weights = np.exp(gates.reshape(2, 1, 1, 2, 3))
    weights /= weights.sum(3, keepdims=True)
    want = first * weights[..., 0, :] + second * weights[..., 1, :]
    np.testing.assert_allclose(StreamMix()([x, gates]), want, rtol=1e-5)


def test_gate_width():
    assert [gate_width(f) for f in (64, 512, 1024)] == [32, 32, 64]


@pytest.mark.parametrize(
    "layer", [Conv(3, 5, 2, "symmetric"), MaxPool("symmetric"), ShortcutPool(2)]
)
def test_config_round_trip(layer):
    config = keras.saving.serialize_keras_object(layer)
    copy = keras.saving.deserialize_keras_object(config)
    assert copy.get_config() == layer.get_config()
