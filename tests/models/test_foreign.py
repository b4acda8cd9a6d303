"""Encoders by import path: what is taken as it is, and what is refused."""

from __future__ import annotations

import random

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfssl.core import variables
from tfssl.errors import ConfigError
from tfssl.exporters.saved_model import inference_clone
from tfssl.models import build_foreign_encoder

HERE = "tests.foreign_models"


def build(name, size=16, seed=0):
    name = name if ":" in name else f"{HERE}:{name}"
    return build_foreign_encoder(name, image_size=size, seed=seed)


def images(size=16, rows=4):
    draw = np.random.default_rng(0).random((rows, size, size, 3))
    return draw.astype(np.float32)


def test_maps_are_averaged_and_vectors_taken_as_they_are():
    model = build("small")
    maps = keras.Model(model.input, model.layers[-2].output)
    assert maps.output_shape == (None, 4, 4, 16)
    expected = maps(images()).numpy().mean((1, 2))
    np.testing.assert_allclose(model(images()), expected, rtol=1e-5, atol=1e-6)
    vectors = build("vectors")
    assert vectors.output_shape == (None, 12)
    flat = images().reshape(4, -1)
    kernel, bias = vectors.weights
    expected = np.maximum(flat @ kernel.numpy() + bias.numpy(), 0)
    np.testing.assert_allclose(vectors(images()), expected, rtol=1e-4, atol=1e-5)


def test_weights_and_names_are_a_function_of_seed_and_name():
    first = build("small")
    keras.layers.Conv2D(3, 3), keras.layers.Dropout(0.1)  # names and seeds go on
    state = random.getstate()
    second, other = build("small"), build("small", seed=1)
    assert random.getstate() == state
    paths = [variables.path(v) for v in first.variables]
    assert "conv2d/kernel" in paths and len(set(paths)) == len(paths)
    assert paths == [variables.path(v) for v in second.variables]
    for a, b in zip(first.variables, second.variables, strict=True):
        np.testing.assert_array_equal(a, b)
    kernels = [m.get_layer("conv2d").kernel.numpy() for m in (first, other)]
    assert not np.allclose(*kernels)


def test_training_reaches_batch_norm_and_dropout():
    model = build("small")
    norm = next(x for x in model.layers if "batch_normalization" in x.name)
    before = norm.moving_mean.numpy()
    one, two = model(images(), training=True), model(images(), training=True)
    assert not np.array_equal(one, two)  # other masks
    assert not np.array_equal(norm.moving_mean, before)
    np.testing.assert_array_equal(model(images()), model(images(), training=False))


def test_a_model_gives_its_architecture_and_new_weights():
    first, second = build("backbone"), build("backbone", seed=1)
    assert first.input_shape == (None, None, None, 3)
    shared = {id(v) for v in first.variables} & {id(v) for v in second.variables}
    assert not shared
    kernels = [m.weights[0].numpy() for m in (first, second)]
    assert not np.allclose(*kernels)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        with pytest.raises(ConfigError, match="got .*backbone.*a function that builds"):
            build("backbone")
        assert build("small")(images()).dtype == tf.bfloat16
    finally:
        keras.config.set_dtype_policy("float32")


def test_export_keeps_the_size_of_one_that_takes_no_other():
    model = build("vectors")
    clone = inference_clone(model, any_size=False)
    np.testing.assert_allclose(clone(images()), model(images()), rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere.at.all:small", "import nowhere.at.all fails.*try PYTHONPATH"),
        ("smal", "got encoder=tests.foreign_models=smal; .*=small$"),
        ("picky", "missing 1 required.*'depth'; expected a function that needs no"),
        ("broken", "fails, RuntimeError: no such luck; expected"),
        ("number", "gives a int; expected one functional or Sequential"),
        ("tokens", r"output of shape \(None, 256, 4\); expected feature maps"),
        ("two_outputs", "1 inputs and 2 outputs; expected one functional"),
        ("frozen", "without trainable weights"),
        ("small_numbers", "multiplies its images by 0.00392;.*Rescaling"),
        ("fixed", r"inputs of shape \(None, 24, 24, 3\) with image_size=16"),
        ("no_config", "cannot be copied.*get_config"),
        ("subclassed", "a subclassed model; expected one functional"),
        ("_NoConfig.__doc__", "a NoneType; expected a function"),
    ],
)
def test_what_cannot_be_an_encoder(name, words):
    with pytest.raises(ConfigError, match=words) as caught:
        build(name)
    (problem,) = caught.value.problems
    assert "\n" not in problem and problem.startswith("got encoder=")


def test_two_networks_never_share_weights():
    first = build("kept")
    with pytest.raises(ConfigError, match="gives the same weights again"):
        build("kept")
    assert first.weights


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "dim"), [("MobileNetV3Small", 576), ("ConvNeXtTiny", 768)]
)
def test_applications(name, dim):
    model = build(f"keras.applications:{name}", size=32)
    assert model.output_shape == (None, dim)
    assert not any(isinstance(x, keras.layers.Rescaling) for x in model.layers)
    features = model(images(32), training=True)
    assert features.shape == (4, dim) and np.isfinite(features).all()
    clone = inference_clone(model, any_size=False)
    np.testing.assert_allclose(
        clone(images(32)), model(images(32)), rtol=1e-4, atol=1e-5
    )


def test_those_that_rescale_by_themselves():
    with pytest.raises(ConfigError, match="multiplies its images by 0.00392"):
        build("keras.applications:EfficientNetB0", size=32)
