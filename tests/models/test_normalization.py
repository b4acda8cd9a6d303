"""Group normalisation and weight standardisation against slow NumPy, and the table."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfssl.config import tables
from tfssl.errors import ConfigError
from tfssl.exporters.saved_model import inference_clone
from tfssl.models import (
    NORMALIZATIONS,
    BatchNorm,
    Encoder,
    GroupNorm,
    byol_mlp,
    simclr_head,
)
from tfssl.models.convolution import Conv
from tfssl.models.normalization import Affine, group_count
from tfssl.models.standardized import StandardizedConv, StandardizedDense
from tfssl.optim.exclude import DEFAULT_EXCLUDE, excluded

TINY = "resnet10x0.125_cifar"
OTHERS = ["group_ws", "none"]


def encoder(normalization, name=TINY, size=16, **options):
    options = {"family": "simclr", "image_size": size, "seed": 0, **options}
    return Encoder(name, normalization=normalization, **options)


def numbers(*shape, seed=0, mean=0.0):
    draw = np.random.default_rng(seed).normal(mean, 1.0, shape)
    return draw.astype(np.float32)


def slow_group_norm(x, groups, epsilon, gamma, beta):
    """Wu and He 2018, equations 1, 2 and 7, one number at a time."""
    out = np.zeros(x.shape, np.float64)
    size = x.shape[-1] // groups
    for row, image in enumerate(x.astype(np.float64)):
        for channel in range(x.shape[-1]):
            group = channel // size
            same = image[..., group * size : (group + 1) * size]
            mean = same.sum() / same.size
            variance = ((same - mean) ** 2).sum() / same.size
            normal = (image[..., channel] - mean) / (variance + epsilon) ** 0.5
            out[row, ..., channel] = gamma[channel] * normal + beta[channel]
    return out


def slow_standardize(kernel):
    """Qiao et al. 2019: rows of the weight matrix, one output after the other."""
    flat = kernel.reshape(-1, kernel.shape[-1]).astype(np.float64)
    columns = [(w - w.mean()) / w.std() for w in flat.T]
    return np.stack(columns, -1).reshape(kernel.shape)


@pytest.mark.parametrize(
    ("channels", "groups"),
    [(64, 16), (128, 16), (2048, 16), (4096, 16), (256, 16), (192, 16), (80, 16)]
    + [(32, 8), (16, 4), (12, 3), (8, 2), (51, 3), (48, 12), (13, 1), (3, 1), (1, 1)],
)
def test_groups_of_a_width(channels, groups):
    assert group_count(channels) == groups


@pytest.mark.parametrize(
    ("shape", "groups", "used"),
    [((3, 4, 5, 64), None, 16), ((3, 12), None, 3), ((2, 2, 2, 6), 6, 6)],
)
def test_group_norm_is_the_papers(shape, groups, used):
    x = numbers(*shape, mean=3.0)
    layer = GroupNorm(groups, epsilon=0.1)
    layer.build(shape)
    gamma, beta = numbers(shape[-1], seed=1), numbers(shape[-1], seed=2)
    layer.gamma.assign(gamma)
    layer.beta.assign(beta)
    expected = slow_group_norm(x, used, 0.1, gamma, beta)
    for training in (False, True):
        got = layer(x, training=training)
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


def test_groups_that_do_not_divide():
    with pytest.raises(ValueError, match="got 12 channels for 5 groups.*groups=3"):
        GroupNorm(5).build((None, 12))


def test_statistics_are_float32_under_mixed_precision():
    """In bfloat16 the mean of these would be lost: 100 has steps of a half there."""
    x = tf.cast(numbers(2, 8, 8, 64, mean=100.0) * 4, tf.bfloat16)
    layer = GroupNorm(dtype="mixed_bfloat16")
    got = layer(x)
    assert got.dtype == tf.bfloat16
    assert {str(v.dtype) for v in layer.variables} == {"float32"}
    ones, zeros = np.ones(64), np.zeros(64)
    expected = slow_group_norm(tf.cast(x, tf.float32).numpy(), 16, 1e-5, ones, zeros)
    np.testing.assert_allclose(tf.cast(got, tf.float32), expected, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_standardized_layers_use_the_papers_kernel(policy):
    options = {"dtype": policy, "kernel_initializer": "he_normal"}
    x, vector = numbers(2, 5, 5, 6), numbers(4, 40)
    conv = StandardizedConv(8, 3, 2, padding="symmetric", **options)
    dense = StandardizedDense(8, bias_initializer="ones", **options)
    conv(x), dense(vector)
    conv.kernel.assign(conv.kernel.numpy() + 0.3)
    plain = Conv(8, 3, 2, padding="symmetric")
    plain.build(x.shape)
    plain.kernel.assign(slow_standardize(conv.kernel.numpy()))
    expected = vector @ slow_standardize(dense.kernel.numpy()) + 1
    tolerance = {"rtol": 1e-4, "atol": 1e-4}
    if policy != "float32":
        tolerance = {"rtol": 2e-2, "atol": 0.2}
    np.testing.assert_allclose(tf.cast(conv(x), tf.float32), plain(x), **tolerance)
    np.testing.assert_allclose(
        tf.cast(dense(vector), tf.float32), expected, **tolerance
    )


def test_kernels_are_standardised_in_float32():
    """A kernel far from zero mean, rounded to 8 bits first, is mostly rounding."""
    identity = np.eye(40, dtype=np.float32)
    conv = StandardizedConv(4, 1, dtype="mixed_bfloat16")
    dense = StandardizedDense(4, use_bias=False, dtype="mixed_bfloat16")
    for layer, x in ((conv, identity[:, None, None]), (dense, identity)):
        layer.build(x.shape)
        layer.kernel.assign(1.0 + 1e-3 * layer.kernel.numpy())
        got = tf.reshape(tf.cast(layer(x), tf.float32), layer.kernel.shape)
        expected = slow_standardize(layer.kernel.numpy())
        np.testing.assert_allclose(got, expected, rtol=1e-2, atol=1e-2)


@pytest.mark.slow
def test_what_is_standardised_is_what_a_group_norm_follows():
    model = encoder("group_ws", "resnet50x0.125_sk", 32)
    convs = {x.name: type(x) for x in model.layers if isinstance(x, Conv)}
    gates = {name for name, kind in convs.items() if kind is Conv}
    assert gates and gates == {n for n in convs if n.endswith("sk_expand")}
    heads = {"simclr": simclr_head(64, out=16, seed=0, normalization="group_ws")}
    heads["byol"] = byol_mlp(64, out=16, seed=0, name="p", normalization="group_ws")
    plain = {
        name: [x.name for x in head.layers if isinstance(x, keras.layers.Dense)]
        for name, head in heads.items()
    }
    assert plain == {"simclr": [], "byol": ["p_layer1_dense"]}


@pytest.mark.parametrize("normalization", OTHERS)
def test_no_row_knows_of_another(normalization):
    x, vectors = numbers(4, 16, 16, 3), numbers(4, 64)
    kind = {"none": Affine, "group_ws": GroupNorm}[normalization]
    options = {"seed": 0, "normalization": normalization}
    models = [
        (encoder(normalization), x),
        (simclr_head(64, out=16, **options), vectors),
        (byol_mlp(64, hidden=32, out=16, name="p", **options), vectors),
    ]
    for model, rows in models:
        assert not any(isinstance(layer, BatchNorm) for layer in model.layers)
        assert any(type(layer) is kind for layer in model.layers)
        together = tf.nest.flatten(model(rows, training=True))[-1]
        alone = tf.nest.flatten(model(rows[1:2], training=False))[-1]
        np.testing.assert_allclose(together[1:2], alone, rtol=1e-4, atol=1e-6)
        assert np.abs(alone).max() > 0


@pytest.mark.parametrize("normalization", OTHERS)
def test_weights_keep_their_names_starts_and_exemptions(normalization):
    published, other = encoder("batch"), encoder(normalization)
    trainable = [v.path for v in published.trainable_variables]
    assert [v.path for v in other.variables] == trainable
    for a, b in zip(published.trainable_variables, other.variables, strict=True):
        np.testing.assert_array_equal(a, b)  # zero gammas and kernels among them
    flags = excluded(DEFAULT_EXCLUDE, other.variables)
    assert flags == [not v.path.endswith("kernel") for v in other.variables]


def test_none_is_batch_norm_without_statistics():
    """At mean 0 and variance 1 (less epsilon) inference is the same function."""
    published, other = encoder("batch"), encoder("none")
    for layer in published.layers:
        if isinstance(layer, BatchNorm):
            layer.moving_variance.assign(tf.ones_like(layer.moving_variance) - 1e-5)
    x = numbers(2, 16, 16, 3)
    np.testing.assert_allclose(published(x), other(x), rtol=1e-4, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("normalization", OTHERS)
def test_save_load_and_clone_for_export(normalization, tmp_path):
    model = encoder(normalization)
    model.save(tmp_path / "encoder.keras")
    loaded = keras.models.load_model(tmp_path / "encoder.keras")
    x = numbers(2, 16, 16, 3)
    np.testing.assert_array_equal(model(x), loaded(x))
    assert loaded.get_config()["normalization"] == normalization
    clone = tf.function(inference_clone(model))
    np.testing.assert_allclose(clone(x), model(x), rtol=1e-5, atol=1e-6)
    head = simclr_head(64, out=16, seed=0, normalization=normalization)
    head.save(tmp_path / "head.keras")
    same = keras.models.load_model(tmp_path / "head.keras")
    vectors = numbers(4, 64)
    np.testing.assert_array_equal(head(vectors)[-1], same(vectors)[-1])


def test_names():
    assert tuple(NORMALIZATIONS) == tables.NORMALIZATIONS
    with pytest.raises(ConfigError, match="one of batch, group_ws, none"):
        encoder("layer")
