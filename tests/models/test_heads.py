"""Heads: shapes, names, initial weights, saving."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfssl.errors import ConfigError
from tfssl.models import byol_mlp, linear_head, moco_head, simclr_head

BATCH_NORM = ["moving_mean", "moving_variance"]
HEADS = {
    "simclr": lambda seed=0: simclr_head(6, out=4, seed=seed),
    "simclr1": lambda seed=0: simclr_head(6, out=4, layers=1, seed=seed),
    "byol": lambda seed=0: byol_mlp(6, hidden=8, out=4, seed=seed, name="predictor"),
    "moco1": lambda seed=0: moco_head(6, out=4, mlp=False, seed=seed),
    "moco2": lambda seed=0: moco_head(6, out=4, mlp=True, seed=seed),
    "linear": lambda seed=0: linear_head(6, 5, seed=seed),
}


def paths(model):
    return [v.path for v in model.variables]


def test_simclr_last_batch_norm_has_no_beta_and_linear_layers_no_bias():
    head = simclr_head(6, hidden=5, out=4, layers=3, seed=0)
    first = ["kernel"], ["gamma", "beta", *BATCH_NORM]
    assert paths(head) == [
        f"projector_layer{i}_{kind}/{leaf}"
        for i in range(3)
        for kind, leaves in zip(("dense", "bn"), first, strict=True)
        for leaf in leaves
        if not (i == 2 and leaf == "beta")
    ]
    shapes = [tuple(o.shape) for o in head(np.ones((2, 6), np.float32))]
    assert shapes == [(2, 5), (2, 5), (2, 4)]


def test_simclr_projection_is_not_rectified_and_hidden_layers_are():
    head = simclr_head(6, out=4, seed=0)
    x = np.random.default_rng(0).normal(size=(32, 6)).astype(np.float32)
    *hidden, projection = head(x, training=True)
    assert all(h.numpy().min() == 0 for h in hidden)
    assert projection.numpy().min() < 0
    np.testing.assert_allclose(projection.numpy().mean(0), 0, atol=1e-5)


def test_single_layer_projector_still_returns_a_list(tmp_path):
    head = HEADS["simclr1"]()
    x = np.ones((2, 6), np.float32)
    assert [o.shape for o in head(x)] == [(2, 4)]
    head.save(tmp_path / "head.keras")
    loaded = keras.models.load_model(tmp_path / "head.keras")
    assert [o.shape for o in tf.function(loaded)(x)] == [(2, 4)]
    with pytest.raises(ConfigError, match="got 0 projector layers"):
        simclr_head(6, layers=0, seed=0)


def test_byol_layers():
    bn = ("gamma", "beta", *BATCH_NORM, "counter")
    assert paths(HEADS["byol"]()) == [
        "predictor_layer0_dense/kernel",
        "predictor_layer0_dense/bias",
        *(f"predictor_layer0_bn/{leaf}" for leaf in bn),
        "predictor_layer1_dense/kernel",
    ]


@pytest.mark.parametrize("mlp", [False, True])
def test_moco_layers(mlp):
    layers = ["layer0_dense", "layer1_dense"] if mlp else ["layer0_dense"]
    head = moco_head(6, out=4, mlp=mlp, seed=0)
    leaves = ("kernel", "bias")
    assert paths(head) == [f"projector_{n}/{leaf}" for n in layers for leaf in leaves]
    assert head.output_shape == (None, 4)


def test_initial_distributions():
    """Deviation of each official initialiser; 1e5 draws determine it to 1 %."""

    def std(model, path):
        full = f"{model.name}_{path}"
        return np.std(next(v for v in model.variables if v.path == full).numpy())

    kernel = "layer0_dense/kernel"
    n = 400
    assert std(simclr_head(n, seed=0), kernel) == pytest.approx(0.01, rel=0.02)
    assert std(linear_head(n, n, seed=0), kernel) == pytest.approx(0.01, rel=0.02)
    # A normal cut at two deviations has 0.8796 of its deviation.
    cut = 0.8796 / np.sqrt(n)
    byol = byol_mlp(n, hidden=n, seed=0, name="p")
    assert std(byol, kernel) == pytest.approx(cut, rel=0.02)
    assert std(byol, "layer1_dense/kernel") == pytest.approx(cut, rel=0.02)
    classifier = linear_head(n, n, seed=0, family="byol")
    assert std(classifier, kernel) == pytest.approx(cut, rel=0.02)
    uniform = 1 / np.sqrt(n) / np.sqrt(3)
    moco = moco_head(n, out=n, mlp=True, seed=0)
    assert std(moco, kernel) == pytest.approx(uniform, rel=0.02)
    assert std(moco, "layer1_dense/kernel") == pytest.approx(uniform, rel=0.02)
    assert std(moco, "layer0_dense/bias") == pytest.approx(uniform, rel=0.2)


@pytest.mark.parametrize("name", HEADS)
def test_weights_are_a_function_of_seed_and_name(name):
    first = HEADS[name]()
    linear_head(3, 3, seed=9)  # the order of construction must not matter
    second, other = HEADS[name](), HEADS[name](seed=1)
    kernels = [i for i, v in enumerate(first.variables) if v.path.endswith("kernel")]
    for i in kernels:
        a, b, c = (m.variables[i].numpy() for m in (first, second, other))
        np.testing.assert_array_equal(a, b)
        assert not np.allclose(a, c)
    renamed = byol_mlp(6, hidden=8, out=4, seed=0, name="projector")
    same = byol_mlp(6, hidden=8, out=4, seed=0, name="predictor")
    assert not np.allclose(renamed.variables[0].numpy(), same.variables[0].numpy())


@pytest.mark.parametrize("name", HEADS)
def test_save_and_load(name, tmp_path):
    head = HEADS[name]()
    x = np.random.default_rng(0).normal(size=(8, 6)).astype(np.float32)
    head(x, training=True)
    head.save(tmp_path / "head.keras")
    loaded = keras.models.load_model(tmp_path / "head.keras")
    assert paths(loaded) == paths(head)
    for a, b in zip(tf.nest.flatten(head(x)), tf.nest.flatten(loaded(x)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_mixed_precision_keeps_variables_in_float32():
    head = simclr_head(6, out=4, seed=0, dtype="mixed_bfloat16")
    out = head(np.ones((4, 6), np.float32), training=True)
    assert {o.dtype for o in out} == {tf.bfloat16}
    assert {str(v.dtype) for v in head.variables} == {"float32"}


def test_under_the_policy_float64_nothing_is_rounded_to_float32():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    try:
        head = moco_head(6, out=3, mlp=False, seed=1, name="projector")
    finally:
        keras.config.set_dtype_policy(before)
    kernel, bias = (w.numpy() for w in head.weights)
    features = 1.0 + np.arange(12.0).reshape(2, 6) * 1e-9  # all ones in float32
    got = head(tf.constant(features)).numpy()
    np.testing.assert_allclose(got, features @ kernel + bias, rtol=1e-12)
