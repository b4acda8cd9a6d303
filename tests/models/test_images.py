"""An encoder normalises images in [0, 1] itself, and its checkpoints do not know."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.kits import TESTS
from tests.tiny import tiny
from tfssl.augment.recipes import CIFAR_MEAN, CIFAR_STD, IMAGENET_MEAN, IMAGENET_STD
from tfssl.build import networks
from tfssl.models import (
    Encoder,
    build_foreign_encoder,
    normalization_of,
    normalize,
)

NAME, SIZE = "resnet10x0.125_cifar", 16
NORMAL = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}


def images():
    rng = np.random.default_rng(0)
    return rng.random((4, SIZE, SIZE, 3), dtype=np.float32)


def by_numpy(x):
    return (x - np.float32(IMAGENET_MEAN)) / np.float32(IMAGENET_STD)


def make(kind, **normal):
    if kind == "ours":
        return Encoder(NAME, family="byol", image_size=SIZE, seed=0, **normal)
    return build_foreign_encoder(
        "tests.foreign_models:small", image_size=SIZE, seed=0, **normal
    )


def test_normalize_is_the_official_code_s(byol_kit):
    source = byol_kit.rule.fixed_images(2, (24, 20), 4000)
    source[1, 0:4], source[1, 4:8], source[1, 8:12] = 0.5, 0.0, 1.0
    got = normalize(tf.constant(source), IMAGENET_MEAN, IMAGENET_STD)
    want = np.load(TESTS / "goldens" / "byol" / "aug_byol.npz")["normalize"]
    np.testing.assert_allclose(got, want, atol=1e-5)
    assert normalize(got, None, None) is got


@pytest.mark.parametrize("kind", ["ours", "foreign"])
def test_the_first_layer_normalises_and_has_no_weights(kind):
    inside, before = make(kind, **NORMAL), make(kind)
    assert normalization_of(inside) == (IMAGENET_MEAN, IMAGENET_STD)
    assert normalization_of(before) == (None, None)
    for got, want in zip(inside.variables, before.variables, strict=True):
        assert got.path == want.path
        np.testing.assert_array_equal(got, want)
    x = images()
    np.testing.assert_array_equal(inside(x), before(by_numpy(x)))
    assert np.abs(inside(x) - before(x)).max() > 1e-3


def test_two_families_take_one_pair_of_views():
    """Each by its own recipe's numbers, from the flags alone."""
    found = {}
    for method, augment in (
        ("byol", "byol"),
        ("moco", "moco_cifar"),
        ("simclr", "simclr"),
    ):
        config = tiny(method, image_size=SIZE, augment=augment)
        found[augment] = normalization_of(networks.encoder(config, 0))
    assert found == {
        "byol": (IMAGENET_MEAN, IMAGENET_STD),
        "moco_cifar": (CIFAR_MEAN, CIFAR_STD),
        "simclr": (None, None),
    }


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float64"])
def test_the_layer_is_float32_whatever_the_precision(policy):
    """The input is not rounded to 8 bits first: 1/255 is 0.4 % of white."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        encoder = make("ours", **NORMAL)
    finally:
        keras.config.set_dtype_policy(before)
    layer = encoder.get_layer("normalize")
    got = layer(images())
    assert got.dtype == tf.float32
    np.testing.assert_array_equal(got, by_numpy(images()))


def test_a_saved_model_keeps_it(tmp_path):
    encoder = make("ours", **NORMAL)
    encoder.save(tmp_path / "encoder.keras")
    loaded = keras.saving.load_model(tmp_path / "encoder.keras")
    np.testing.assert_array_equal(loaded(images()), encoder(images()))
    assert normalization_of(loaded) == (IMAGENET_MEAN, IMAGENET_STD)
