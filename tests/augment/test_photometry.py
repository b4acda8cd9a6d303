"""The table of parameters and its application: statistics, XLA, replicas, order."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tfssl.augment import photometry
from tfssl.augment.recipes import RECIPES, ViewRecipe

SEED = tf.constant([11, 3], tf.int64)


@pytest.fixture(scope="module")
def images():
    small = np.random.default_rng(1).integers(0, 256, (8, 6, 6, 3), np.uint8)
    return tf.saturate_cast(tf.image.resize(small, [40, 40]), tf.uint8)


def rows(table, view, chosen=slice(None)):
    return {name: value[view][chosen] for name, value in table.items()}


def share_is(observed, expected, draws):
    deviation = np.sqrt(max(expected * (1 - expected), 1e-9) / draws)
    assert abs(np.mean(observed) - expected) <= 4 * deviation


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("name", ["simclr", "simclr_v1", "byol", "moco_v1", "moco_v2"])
def test_table_has_the_recipe_s_law(name, compiled):
    draws, recipe = 20_000, RECIPES[name]
    draw = tf.function(
        lambda seed: photometry.sample(recipe, seed, draws), jit_compile=compiled
    )
    table = draw(SEED)
    for number, view in enumerate(recipe.views):
        t = {k: v.numpy() for k, v in rows(table, number).items()}
        for flag in ("jitter", "gray", "blur", "solarize"):
            share_is(t[flag], getattr(view, flag), draws)
        for factor in ("contrast", "saturation"):
            delta = getattr(view, factor)
            assert t[factor].min() >= 1 - delta - 1e-6
            assert t[factor].max() <= 1 + delta + 1e-6
            assert np.mean(t[factor]) == pytest.approx(1, abs=0.02)
            assert np.std(t[factor]) == pytest.approx(delta / np.sqrt(3), abs=0.01)
        centre = 0.0 if view.brightness_mode == "additive" else 1.0
        assert np.mean(t["brightness"]) == pytest.approx(centre, abs=0.02)
        assert np.abs(t["hue"]).max() <= view.hue
        assert np.std(t["hue"]) == pytest.approx(view.hue / np.sqrt(3), abs=0.01)
        if view.blur_sigma_per == "image":
            assert np.mean(t["sigma"]) == pytest.approx(1.05, abs=0.02)
        else:
            assert np.ptp(t["sigma"]) == 0
        assert t["sigma"].min() >= 0.1 and t["sigma"].max() <= 2.0
        codes, counts = np.unique(t["order"] @ [64, 16, 4, 1], return_counts=True)
        assert len(codes) == 24
        np.testing.assert_array_equal(np.sort(t["order"], axis=1)[0], range(4))
        assert np.sum((counts - draws / 24) ** 2) / (draws / 24) < 60  # 23 degrees


def test_official_byol_frequencies(byol):
    official = byol.cases["aug"]["random"]
    draws = official["draws"]
    table = photometry.sample(RECIPES["byol"], SEED, draws)
    first, second = (rows(table, i) for i in range(2))
    unchanged = 1 - np.mean(first["jitter"])
    assert unchanged == pytest.approx(
        official["brightness"]["unchanged_fraction"], abs=0.015
    )
    assert np.mean(first["gray"]) == pytest.approx(
        official["grayscale_fraction"], abs=0.015
    )
    assert np.mean(second["solarize"]) == pytest.approx(
        official["solarize_view2_fraction"], abs=0.015
    )
    amounts = first["brightness"].numpy()[first["jitter"].numpy()]
    counts = np.histogram(amounts, official["brightness"]["hist_edges"])[0]
    theirs = np.asarray(official["brightness"]["hist"])
    assert np.sum((counts - theirs) ** 2 / (counts + theirs)) < 50  # 20 degrees


def test_batch_sigma_changes_with_view_and_seed():
    recipe = RECIPES["simclr"]
    sigmas = []
    for seed in ([1, 1], [1, 2]):
        table = photometry.sample(recipe, tf.constant(seed, tf.int64), 4)
        sigmas += table["sigma"].numpy()[:, 0].tolist()
    assert len(set(sigmas)) == 4


def test_table_is_a_function_of_the_seed():
    first = photometry.sample(RECIPES["byol"], SEED, 16)
    again = tf.function(lambda s: photometry.sample(RECIPES["byol"], s, 16))(SEED)
    other = photometry.sample(RECIPES["byol"], SEED + 1, 16)
    for name, value in first.items():
        assert value.shape[:2] == (2, 16)
        np.testing.assert_array_equal(value, again[name])
        assert np.any(value != other[name])
        assert np.any(value[0] != value[1])


@pytest.mark.parametrize("name", RECIPES)
def test_range_and_shape(name, images):
    recipe = RECIPES[name]
    table = photometry.sample(recipe, SEED, 8)
    for number, view in enumerate(recipe.views):
        out = photometry.apply(images, rows(table, number), view).numpy()
        assert out.dtype == np.float32
        assert out.shape == (8, 40, 40, 3)
        assert out.min() >= 0 and out.max() <= 1


@pytest.mark.parametrize("name", ["simclr", "byol", "moco_v2"])
def test_xla_equals_plain(name, images):
    recipe = RECIPES[name]
    table = photometry.sample(recipe, SEED, 8)
    number = len(recipe.views) - 1
    view, params = recipe.views[number], rows(table, number)

    def function(x, p):
        return photometry.apply(x, p, view)

    plain = function(images, params).numpy()
    compiled = tf.function(function, jit_compile=True)(images, params).numpy()
    difference = np.abs(plain - compiled)
    if view.pil_color:
        # Cutting to bytes turns a difference of one bit into a grey level, here and
        # there.
        assert np.mean(difference > 1e-4) < 0.01
        assert np.mean(difference) < 1e-3
    else:
        assert difference.max() < 3e-5


@pytest.mark.parametrize("name", ["simclr", "byol", "moco_v2"])
def test_halves_equal_the_whole(name, images):
    """What two replicas compute from their rows is what one computes."""
    recipe = RECIPES[name]
    view, table = recipe.views[0], photometry.sample(recipe, SEED, 8)
    whole = photometry.apply(images, rows(table, 0), view)
    for half in (slice(0, 4), slice(4, 8)):
        part = photometry.apply(images[half], rows(table, 0, half), view)
        np.testing.assert_allclose(part, whole[half], atol=1e-5)


def test_switches_select_images(images):
    view = dataclasses.replace(RECIPES["byol"].views[1])
    table = rows(photometry.sample(RECIPES["byol"], SEED, 8), 1)
    off = tf.zeros([8], tf.bool)
    still = {**table, "jitter": off, "gray": off, "blur": off, "solarize": off}
    plain = photometry.to_float(images).numpy()
    np.testing.assert_array_equal(photometry.apply(images, still, view), plain)
    for switch in ("jitter", "gray", "blur", "solarize"):
        one = {**still, switch: tf.constant([True] + [False] * 7)}
        out = photometry.apply(images, one, view).numpy()
        np.testing.assert_array_equal(out[1:], plain[1:])
        assert np.any(out[0] != plain[0]), switch


def test_gray_first_is_before_the_jitter(images):
    """Grey stays grey under the jitter, but the two orders give other greys."""
    chosen = tf.constant([True, False] * 4)
    table = rows(photometry.sample(RECIPES["moco_v1"], SEED, 8), 0)
    table = {**table, "gray": chosen}
    view = RECIPES["moco_v1"].views[0]
    first = photometry.apply(images, table, view).numpy()
    after = dataclasses.replace(view, steps=("jitter", "gray"))
    last = photometry.apply(images, table, after).numpy()
    assert np.ptp(first[::2], axis=-1).max() < 2 / 255
    assert np.ptp(first[1::2], axis=-1).max() > 0.1
    assert np.abs(first - last)[::2].max() > 0.02
    np.testing.assert_array_equal(first[1::2], last[1::2])


def test_solarize_comes_after_the_blur():
    """An image of ones: blurred borders fall under the threshold and stay dark."""
    view = ViewRecipe(blur=1.0, solarize=1.0)
    table = photometry.sample(
        dataclasses.replace(RECIPES["byol"], views=(view,)), SEED, 1
    )
    params = {**rows(table, 0), "sigma": tf.constant([2.0])}
    out = photometry.apply(tf.ones([1, 224, 224, 3]), params, view)
    assert float(out[0, 0, 0, 0]) == pytest.approx(0.36, abs=0.01)
    assert float(out[0, 112, 112, 0]) == pytest.approx(0, abs=1e-5)


def test_float_and_bytes_are_the_same_images(images):
    recipe = RECIPES["byol"]
    table = rows(photometry.sample(recipe, SEED, 8), 0)
    floats = tf.image.convert_image_dtype(images, tf.float32)
    one = photometry.apply(images, table, recipe.views[0])
    two = photometry.apply(floats, table, recipe.views[0])
    np.testing.assert_allclose(one, two, atol=1e-5)
