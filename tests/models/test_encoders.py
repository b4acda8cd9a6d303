"""Encoders: grammar, sizes, names, initial weights, saving, errors."""

from __future__ import annotations

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfssl import models
from tfssl.config.encoder_name import BLOCKS, EncoderSpec
from tfssl.errors import ConfigError
from tfssl.models import (
    FAMILIES,
    BatchNorm,
    Encoder,
    parse_encoder,
    resnet18,
)

TINY = "resnet18x0.125_cifar"


def tiny(family="simclr", seed=0, size=16, name=TINY, **options):
    return Encoder(name, family=family, image_size=size, seed=seed, **options)


def images(count=4, size=16, seed=0):
    rng = np.random.default_rng(seed)
    return rng.random((count, size, size, 3), dtype=np.float32)


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("resnet50", EncoderSpec(50)),
        ("resnet50x2", EncoderSpec(50, 2)),
        ("resnet18x0.25_cifar", EncoderSpec(18, 0.25, cifar=True)),
        ("resnet152x3_sk", EncoderSpec(152, 3, sk=True)),
        ("resnet200_sk_cifar", EncoderSpec(200, sk=True, cifar=True)),
    ],
)
def test_name_means(name, spec):
    assert parse_encoder(name) == spec
    assert spec.name == name


@pytest.mark.parametrize("depth", BLOCKS)
def test_every_depth_has_a_function(depth):
    build = getattr(models, f"resnet{depth}")
    assert build.__name__ == f"resnet{depth}"
    with keras.StatelessScope():
        model = build(width=0.125, cifar=True, family="moco", image_size=16)
    assert model.get_config()["encoder"] == f"resnet{depth}x0.125_cifar"
    assert model.get_config()["family"] == "moco"


@pytest.mark.parametrize(
    "name",
    ["resnet51", "resnet", "vit", "resnet50_cifar_sk", "resnet50xx2", "resnet50x", ""],
)
def test_bad_name_lists_grammar_and_depths(name):
    with pytest.raises(ConfigError, match="18, 34, 50, 101, 152, 200") as error:
        parse_encoder(name)
    assert "resnetDEPTH[xWIDTH][_sk][_cifar]" in str(error.value)


@pytest.mark.parametrize("name", ["resnet50x0", "resnet50x17", "resnet18_sk"])
def test_bad_combination(name):
    with pytest.raises(ConfigError, match=f"--encoder={name}"):
        parse_encoder(name)


def test_names_need_no_tensorflow():
    module = "tfssl.config.encoder_name"
    code = f"import sys, {module}; sys.exit('tensorflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_widths():
    assert [EncoderSpec(18, 0.1).channels(c) for c in (64, 128, 512)] == [8, 12, 51]
    assert EncoderSpec(50, 0.25).feature_dim == 512
    assert EncoderSpec(18, 2).feature_dim == 1024


def test_too_small_images():
    with pytest.raises(ConfigError, match="at least 32.*try --encoder=resnet18_cifar"):
        Encoder("resnet18", family="simclr", image_size=31, seed=0)
    with pytest.raises(ConfigError, match="at least 8 .*try --image_size=8"):
        tiny(size=7)
    with pytest.raises(ConfigError, match="--image_size=16"):
        Encoder("resnet18", family="byol", image_size=(64, 16), seed=0)
    assert tiny(size=8).output_shape == (None, 64)


def test_unknown_family():
    with pytest.raises(ConfigError, match="one of byol, moco, simclr"):
        tiny(family="dino")


# Measured with the official SimCLR code (trainable parameters without heads).
COUNTS = {
    "resnet18_cifar": 11_173_056,
    "resnet50": 23_508_032,
    "resnet50x2": 93_907_072,
    "resnet101": 42_500_160,
    "resnet152": 58_143_808,
    "resnet50_sk": 35_215_584,
    "resnet152x3_sk": 794_704_160,
}


@pytest.mark.parametrize(
    "name",
    [
        "resnet18_cifar",
        *(pytest.param(n, marks=pytest.mark.slow) for n in list(COUNTS)[1:]),
    ],
)
def test_number_of_parameters(name):
    with keras.StatelessScope():  # shapes only: the largest would take 3 GB
        model = Encoder(name, family="simclr", image_size=32, seed=0)
        assert sum(np.prod(v.shape) for v in model.trainable_variables) == COUNTS[name]


@pytest.mark.parametrize(
    ("family", "expected"), [("simclr", True), ("byol", True), ("moco", False)]
)
def test_projection_of_the_first_basic_block(family, expected):
    names = [layer.name for layer in tiny(family).layers]
    assert ("stage1_block0_shortcut_conv" in names) == expected
    assert "stage2_block0_shortcut_conv" in names
    assert "stage1_block1_shortcut_conv" not in names


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("depth", [18, 50])
@pytest.mark.parametrize("override", [None, False, True])
def test_zero_initial_gamma(family, depth, override):
    default = {
        ("simclr", 18): True,
        ("simclr", 50): True,
        ("byol", 18): False,
        ("byol", 50): True,
        ("moco", 18): False,
        ("moco", 50): False,
    }[family, depth]
    name = f"resnet{depth}x0.125_cifar"
    with keras.StatelessScope():  # no values: only which initialiser
        model = tiny(family, name=name, zero_init_last_gamma=override)
    zero = {
        layer.name
        for layer in model.layers
        if isinstance(layer, BatchNorm)
        and isinstance(layer.gamma_initializer, keras.initializers.Zeros)
    }
    last = "bn2" if depth == 18 else "bn3"
    every = {
        f"stage{stage}_block{block}_{last}"
        for stage, count in enumerate(model.tfssl_spec.blocks, 1)
        for block in range(count)
    }
    assert len(every) == {18: 8, 50: 16}[depth]
    assert zero == (every if (default if override is None else override) else set())


def test_initial_distributions():
    """Deviations of the official initialisers, on a kernel of 3x3x64x128."""
    fan_in, fan_out = 9 * 64, 9 * 128
    expected = {
        "simclr": fan_in**-0.5,
        "byol": 0.8796 * fan_in**-0.5,  # cut at two deviations
        "moco": (2 / fan_out) ** 0.5,
    }
    for family, std in expected.items():
        model = resnet18(family=family, cifar=True, image_size=8, seed=0)
        kernel = model.get_layer("stage2_block0_conv1").kernel.numpy()
        assert kernel.shape == (3, 3, 64, 128)
        assert kernel.std() == pytest.approx(std, rel=0.02), family
        largest = np.abs(kernel).max() / kernel.std()
        assert (largest > 3) == (family == "moco"), family


def test_weights_are_a_function_of_seed_and_name():
    first = tiny("simclr")
    tiny("moco", seed=3)
    second, other = tiny("simclr"), tiny("simclr", seed=1)
    for a, b, c in zip(first.variables, second.variables, other.variables, strict=True):
        assert a.path == b.path
        np.testing.assert_array_equal(a.numpy(), b.numpy())
        if a.path.endswith("kernel"):
            assert not np.allclose(a.numpy(), c.numpy())


def test_variable_paths_are_unique_and_as_documented(official_names):
    for family, leaves in (("simclr", 4), ("byol", 5), ("moco", 4)):
        model = tiny(family)
        paths = [v.path for v in model.variables]
        layers = official_names.encoder_layers(
            model.tfssl_spec, FAMILIES[family].project_first
        )
        assert {p.split("/")[0] for p in paths} == set(layers)
        norms = sum("bn" in name for name in layers)
        assert len(paths) == len(set(paths)) == len(layers) - norms + leaves * norms


@pytest.mark.parametrize(
    ("family", "name"),
    [
        ("byol", TINY),
        pytest.param("moco", TINY, marks=pytest.mark.slow),
        pytest.param("simclr", "resnet50x0.125_sk", marks=pytest.mark.slow),
    ],
)
def test_save_and_load(family, name, tmp_path):
    size = 16 if name == TINY else 32
    model = tiny(family, name=name, size=size, batch_norm_groups=2)
    model(images(size=size), training=True)
    model.save(tmp_path / "encoder.keras")
    loaded = keras.models.load_model(tmp_path / "encoder.keras")
    x = images(size=size, seed=1)
    np.testing.assert_array_equal(model(x), loaded(x))
    assert loaded.get_config() == model.get_config()
    assert loaded.tfssl_spec == parse_encoder(name)
    assert [v.path for v in loaded.variables] == [v.path for v in model.variables]
    copy = type(model).from_config(model.get_config())
    assert copy.get_layer("stem_bn" if name == TINY else "stem_bn1").groups == 2
    model.summary(print_fn=lambda *_, **__: None)


def test_image_size_pair_survives_json():
    with keras.StatelessScope():
        config = json.loads(json.dumps(tiny(size=(16, 24)).get_config()))
        loaded = Encoder.from_config(config)
    assert loaded.input_shape == (None, 16, 24, 3)


def test_any_size_and_static_size_agree():
    fixed, free = tiny(), tiny(size=None)
    x = images()
    np.testing.assert_array_equal(fixed(x), free(x))
    assert free(images(size=23)).shape == (4, 64)


@pytest.mark.parametrize("name", [TINY, "resnet18x0.125"])
def test_pyramid(name):
    size = 16 if name == TINY else 64
    model = tiny(name=name, size=size)
    first = 1 if name == TINY else 4
    sides = {level: x.shape[1] for level, x in model.pyramid_outputs.items()}
    assert sides == {f"P{k}": size // (first * 2 ** (k - 2)) for k in (2, 3, 4, 5)}
    for level, layer in model.pyramid_level_inputs.items():
        assert model.get_layer(layer).output is model.pyramid_outputs[level]
    dense = keras.Model(model.input, model.pyramid_outputs)
    assert set(dense(images(size=size))) == {"P2", "P3", "P4", "P5"}
    assert model.pyramid_outputs["P5"].shape[-1] == model.output_shape[-1]


def test_features_are_the_mean_of_the_last_stage():
    model = tiny("byol")
    both = keras.Model(model.input, [model.output, model.pyramid_outputs["P5"]])
    features, last = both(images())
    np.testing.assert_allclose(features, last.numpy().mean((1, 2)), rtol=1e-6)
    assert features.numpy().min() >= 0


def test_explicit_dtype_overrides_the_global_policy():
    previous = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        mixed, plain = tiny(), tiny(dtype="float32")
    finally:
        keras.mixed_precision.set_global_policy(previous)
    x = images()
    assert mixed(x).dtype == tf.bfloat16
    assert plain(x).dtype == tf.float32
    assert {str(v.dtype) for v in mixed.variables} == {"float32"}
    np.testing.assert_allclose(
        tf.cast(mixed(x), tf.float32), plain(x), rtol=0.05, atol=1e-3
    )
    np.testing.assert_array_equal(plain(x), tiny()(x))


def test_float64_network_agrees_with_float32():
    single, double = tiny("moco"), tiny("moco", dtype="float64")
    for a, b in zip(single.variables, double.variables, strict=True):
        b.assign(a.numpy())
    got = double(images().astype(np.float64), training=True)
    assert got.dtype == tf.float64
    np.testing.assert_allclose(single(images(), training=True), got, rtol=2e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", [TINY, "resnet50x0.125_sk"])
def test_training_step_compiles_with_xla_and_reaches_every_weight(name):
    size = 16 if name == TINY else 32
    model = tiny(name=name, size=size, zero_init_last_gamma=False)

    @tf.function(jit_compile=True)
    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(x, training=True)))
        return tape.gradient(loss, [v.value for v in model.trainable_variables])

    gradients = step(images(size=size))
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        assert np.isfinite(gradient).all(), variable.path
        assert np.abs(gradient).max() > 0, variable.path
