"""Operators of SimCLR's ablation against NumPy, SciPy and TensorFlow's own kernels."""

import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
import tensorflow as tf

from tfssl.augment import (
    ablation,
    boxes,
    branching,
    color,
    crops,
    geometry,
    matrix_views,
    photometry,
)
from tfssl.augment.recipes import named
from tfssl.config.augment_name import FIGURE5_OPERATORS

SEED = tf.constant([11, 3], tf.int64)
SIZE = 40


@pytest.fixture(scope="module")
def images():
    small = np.random.default_rng(1).integers(0, 256, (6, 6, 6, 3), np.uint8)
    return tf.saturate_cast(tf.image.resize(small, [SIZE, SIZE]), tf.uint8)


def on_planes(operation, images, *parameters):
    x = tf.constant(images, tf.float32)
    return color.join(operation(color.split(x), *parameters)).numpy()


def floats(images):
    return images.numpy().astype(np.float32) / 255


def test_cutout_is_a_grey_square(images):
    x = floats(images)
    center = np.array([[0.5, 0.5], [0.0, 0.0], [1, 0.3], [0.2, 0.9]] + [[0.4, 0.6]] * 2)
    side = np.array([0.25, 0.5, 0.3, 0.4, 0.33, 0.5])
    got = on_planes(ablation.cutout, x, np.float32(center), np.float32(side))
    for image, (cy, cx), s, out in zip(x, center, side, got, strict=True):
        want = image.copy()
        for i in range(SIZE):
            for j in range(SIZE):
                away = max(abs((i + 0.5) / SIZE - cy), abs((j + 0.5) / SIZE - cx))
                if away < s / 2:
                    want[i, j] = 0.5
        np.testing.assert_array_equal(out, want)
    assert np.sum(got[1] == 0.5) == 3 * 10 * 10  # a corner: a quarter of the square


def test_sobel_is_scipys():
    x = np.random.default_rng(2).uniform(0, 0.4, (2, 9, 9, 3)).astype(np.float32)
    got = on_planes(ablation.sobel, x)
    for image, channel in np.ndindex(len(x), 3):
        plane = x[image, ..., channel]
        gy, gx = (scipy.ndimage.sobel(plane, axis=a, mode="mirror") for a in (0, 1))
        want = np.minimum(np.hypot(gy, gx), 1)
        np.testing.assert_allclose(got[image, ..., channel], want, atol=1e-5)
    dy, dx = tf.unstack(tf.image.sobel_edges(tf.constant(x)), axis=-1)
    np.testing.assert_allclose(got, np.minimum(np.hypot(dy, dx), 1), atol=1e-5)


def test_rotation_is_numpys(images):
    x = floats(images)
    turns = [0, 1, 2, 3, 1, 3]
    got = on_planes(ablation.rotate, x, tf.constant(turns))
    for out, image, number in zip(got, x, turns, strict=True):
        np.testing.assert_array_equal(out, np.rot90(image, number))


def test_noise_is_normal_and_an_images_own():
    grey = np.full((4, 128, 128, 3), 0.5, np.float32)
    sigma, key = tf.fill([4], 0.1), tf.constant([5, -7, 5, 6])
    n = (on_planes(ablation.noise, grey, sigma, key) - 0.5) / 0.1
    np.testing.assert_array_equal(n[0], n[2])
    for a, b in ((0, 1), (0, 3)):
        assert abs(np.corrcoef(n[a].ravel(), n[b].ravel())[0, 1]) < 0.02
    # Cut at five deviations, which is one value in two million.
    assert scipy.stats.kstest(n[1].ravel(), "norm").pvalue > 0.001
    values = n[0].astype(np.float64)
    for shifted in (values[1:] * values[:-1], values[:, 1:] * values[:, :-1]):
        assert abs(shifted.mean()) < 0.02
    assert abs(np.mean(values[..., 0] * values[..., 1])) < 0.02
    alone = on_planes(ablation.noise, grey[1:2], sigma[1:2], key[1:2])
    np.testing.assert_allclose(alone[0], 0.5 + 0.1 * n[1], atol=1e-6)


def test_noise_word_by_word():
    """The hash in Python's integers, with Box and Muller's transform in float64."""

    def mixed(word):
        for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
            word = (word ^ word >> shift) * factor % 2**32
        return word ^ word >> 16

    grey = np.full((1, 4, 4, 3), 0.5)
    got = on_planes(ablation.noise, grey, tf.constant([0.1]), tf.constant([-2]))
    for i, j, c in np.ndindex(4, 4, 3):
        word = mixed((mixed(16 * c + 4 * i + j) - 2) % 2**32)
        u, v = (
            ((w >> 9) + 0.5) / 2**23 for w in (word, mixed((word + 0x9E3779B9) % 2**32))
        )
        want = 0.5 + 0.1 * np.sqrt(-2 * np.log(u)) * np.cos(2 * np.pi * v)
        assert got[0, i, j, c] == pytest.approx(want, abs=1e-6)


@pytest.mark.parametrize("mirrored", [False, True])
def test_recrop_is_a_slice_and_tensorflows_resize(images, mirrored):
    x = floats(images)
    table = ablation.sample(named("figure5:crop"), SEED, len(x))
    box = table["recrop_box"][0]
    got = on_planes(ablation.recrop, x, box, tf.fill([len(x)], mirrored))
    for out, image, pixels in zip(got, x, ablation.box_pixels(box, SIZE), strict=True):
        top, left, h, w = (int(p) for p in pixels)
        cut = image[top : top + h, left : left + w]
        want = geometry.resize(tf.constant(cut), SIZE, SIZE, "bicubic", False)
        want = np.clip(want, 0, 1)[:, :: -1 if mirrored else 1]
        np.testing.assert_allclose(out, want, atol=1e-5)


def test_recrop_has_the_law_of_tensorflows_sampler():
    draws, side = 2000, 200
    view = named("figure5:crop").views[0]
    box = ablation.sample(named("figure5:crop"), SEED, draws)["recrop_box"][0]
    mine = ablation.box_pixels(box, side).numpy()
    seeds = tf.data.Dataset.range(draws).batch(1).map(lambda i: tf.tile(i, [2]))
    theirs = seeds.map(lambda s: tf.stack(boxes.sample_crop(view, s, side, side)))
    (theirs,) = theirs.batch(draws).as_numpy_iterator()
    for name, of in (
        ("area", lambda b: b[:, 2] * b[:, 3]),
        ("aspect", lambda b: b[:, 3] / b[:, 2]),
        ("top", lambda b: b[:, 0]),
        ("left", lambda b: b[:, 1]),
    ):
        noise = np.random.default_rng(0).uniform(-0.5, 0.5, draws) * (name != "aspect")
        found = scipy.stats.ks_2samp(of(mine) + noise, of(theirs) + noise)
        assert found.pvalue > 0.01, (name, found)
    assert np.min(mine[:, 2] * mine[:, 3]) > 0.097 * side * side
    assert np.all(mine[:, :2] + mine[:, 2:] <= side) and np.all(mine[:, :2] >= 0)


def test_table_has_its_law_and_leaves_the_old_one_alone():
    draws = 6000
    table = photometry.sample(named("figure5:noise+color"), SEED, draws)
    plain = photometry.sample(named("figure5:color"), SEED, draws)
    for name, value in plain.items():
        np.testing.assert_array_equal(value, table[name])
    assert "noise" not in plain
    t = {name: value[0].numpy() for name, value in table.items()}
    assert t["noise"].all() and not table["noise"][1].numpy().any()
    counts = np.bincount(t["turns"])
    assert counts[0] == 0 and np.all(np.abs(counts[1:] - draws / 3) < 150)
    bounds = {"cutout_side": (0.25, 0.5), "noise_sigma": (0.05, 0.25)}
    for name, (low, high) in bounds.items():
        assert low <= t[name].min() and t[name].max() <= high
        assert np.mean(t[name]) == pytest.approx((low + high) / 2, abs=0.01)
    assert len(set(t["noise_key"].tolist())) == draws
    assert abs(np.mean(t["mirrored"]) - 0.5) < 0.03


def both(images, name, wrap=lambda f: f):
    recipe = named(name)
    rows = {k: v[0] for k, v in photometry.sample(recipe, SEED, len(images)).items()}
    return [
        wrap(lambda x, p, form=form: form.apply(x, p, recipe.views[0]))(
            images, rows
        ).numpy()
        for form in (branching, photometry)
    ]


@pytest.mark.parametrize("operator", FIGURE5_OPERATORS)
def test_image_by_image_equals_batched(images, operator):
    each, whole = both(images, f"figure5:{operator}")
    np.testing.assert_allclose(each, whole, atol=3e-5)
    assert np.abs(whole - floats(images)).max() > 0.1  # else it did nothing


@pytest.mark.slow
@pytest.mark.parametrize("operator", FIGURE5_OPERATORS)
def test_compiled(images, operator):
    name = f"figure5:{operator}"
    plain = both(images, name)[1]
    for compiled in both(
        images, name, lambda f: tf.function(f, jit_compile=True, autograph=False)
    ):
        np.testing.assert_allclose(compiled, plain, atol=5e-5)


def test_order_is_that_of_the_name(images):
    """A square greyed out before a crop grows with it; the other way round it stays."""
    first = both(images, "figure5:cutout+crop")[1]
    last = both(images, "figure5:crop+cutout")[1]
    assert np.abs(first - last).max() > 0.1


def test_both_branches_start_from_one_crop(images):
    recipe = named("figure5:rotate")
    for row in range(4):
        seed = tf.constant([7, row], tf.int64)
        first, second = crops.views(images[0], recipe, seed, 16)
        np.testing.assert_array_equal(first, second)
    table = matrix_views.sample(recipe, SEED, 6, 20, 24)
    for first, second in table.values():
        np.testing.assert_array_equal(first, second)
