"""Image by image is the same as all images at once, and taps are their matrix."""

import numpy as np
import pytest
import tensorflow as tf

from tfssl.augment import blur, branching, photometry
from tfssl.augment.recipes import RECIPES

SEED = tf.constant([11, 3], tf.int64)
SIZE = 40  # two taps on either side, borders that differ from the middle


@pytest.fixture(scope="module")
def images():
    small = np.random.default_rng(1).integers(0, 256, (6, 6, 6, 3), np.uint8)
    return tf.saturate_cast(tf.image.resize(small, [SIZE, SIZE]), tf.uint8)


def both(images, name, number, wrap=lambda f: f):
    recipe = RECIPES[name]
    view = recipe.views[number]
    table = photometry.sample(recipe, SEED, len(images))
    rows = {key: value[number] for key, value in table.items()}
    return [
        wrap(lambda x, p, form=form: form.apply(x, p, view))(images, rows).numpy()
        for form in (branching, photometry)
    ]


@pytest.mark.parametrize(
    ("name", "number"),
    [("simclr", 0), ("simclr_v1", 1), ("byol", 0), ("byol", 1), ("linear_moco", 0)],
)
def test_equals_the_batched_form(images, name, number):
    each, whole = both(images, name, number)
    assert each.shape == whole.shape and each.dtype == whole.dtype
    np.testing.assert_allclose(each, whole, atol=2e-5)


@pytest.mark.parametrize("name", ["moco_v1", "moco_v2"])
def test_equals_the_batched_form_on_bytes(images, name):
    """Cutting to bytes turns one bit into a grey level, here and there."""
    each, whole = both(images, name, 0)
    difference = np.abs(each - whole)
    assert np.mean(difference > 1e-4) < 0.01 and np.mean(difference) < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["simclr", "byol"])
def test_compiled(images, name):
    each, whole = both(
        images, name, 0, lambda f: tf.function(f, jit_compile=True, autograph=False)
    )
    np.testing.assert_allclose(each, whole, atol=3e-5)


@pytest.mark.parametrize("sigma", [0.1, 0.7, 2.0])
@pytest.mark.parametrize("size", [20, 32, 64])
@pytest.mark.parametrize("kind", ["zero", "edge"])
def test_taps_filter_as_their_matrix(kind, size, sigma):
    sigma = tf.constant([sigma])
    reach = {"zero": 4, "edge": blur.pil_reach(2.0)}[kind]

    def matrix(n):
        if kind == "edge":
            return blur.pil_matrix(sigma, n)[0]
        return blur.gaussian_matrix(sigma, n, reach)[0]

    image = np.random.default_rng(0).random((3, size, size), np.float32)
    if kind == "edge":
        band = blur.band(matrix, size, reach)
        along_rows, along_columns = blur.banded(band, 1), blur.banded(band, 2)
    else:
        kernel = blur.gaussian(sigma[0], reach, reach)
        along_rows = along_columns = blur.symmetric(kernel)
    rows = blur.filter_rows(image, reach, along_rows)
    got = blur.filter_columns(rows, reach, along_columns)
    whole = matrix(size).numpy().astype(np.float64)
    np.testing.assert_allclose(got, whole @ image @ whole.T, atol=1e-5)


@pytest.mark.parametrize("sigma", [0.05, 0.3, 1.0, 2.0, 5.0])
def test_reach_of_pil_is_where_its_matrix_ends(sigma):
    row = blur.pil_matrix(tf.constant([sigma]), 101)[0, 50].numpy()
    taken = np.flatnonzero(row > 0)
    reach = blur.pil_reach(sigma)
    assert max(50 - taken[0], taken[-1] - 50) <= reach
    assert blur.pil_reach(2.0) == 6


@pytest.mark.parametrize("radius", [1, 2, 4, 11, 22])
def test_gaussian_taps_that_are_left_out_weigh_nothing(radius):
    reaches = blur.gaussian_reaches(radius)
    assert list(reaches) == sorted(reaches) and list(reaches)[-1] == radius
    assert list(reaches.values())[-1] == np.inf
    for reach, limit in list(reaches.items())[:-1]:
        sigma = tf.constant(limit, tf.float32)
        every = blur.gaussian(sigma, radius, radius).numpy()
        kept = blur.gaussian(sigma, radius, reach).numpy()
        np.testing.assert_array_equal(kept, every[: reach + 1])
        assert 2 * every[reach + 1 :].sum() < 2**-24


@pytest.mark.parametrize("sigma", [0.3, 1.4, 1.5, 2.0, 2.5, 5.0])
def test_pil_taps_that_are_left_out_are_zero(sigma):
    reaches = blur.pil_reaches(5.0)
    reach = next(reach for reach, limit in reaches.items() if sigma < limit)
    assert reach == blur.pil_reach(sigma)
    row = blur.pil_matrix(tf.constant([sigma]), 101)[0, 50].numpy()
    assert row[50 + reach + 1 :].sum() < 1e-7


@pytest.mark.parametrize("size", [32, 80, 224])
@pytest.mark.parametrize("name", ["simclr", "moco_v2"])
def test_each_filter_is_the_whole_one(name, size):
    """Sigmas on either side of each limit, against the product with the matrix."""
    view = RECIPES[name].views[0]
    image = np.random.default_rng(2).random((3, 1, size, size), np.float32)
    for sigma in (0.1, 0.9, 1.05, 1.35, 1.45, 1.55, 2.0):
        sigma = tf.constant([sigma])
        got = branching._blurred(list(tf.constant(image)), sigma, view)
        kind = blur.pil_matrix if view.blur_border == "edge" else blur.gaussian_matrix
        whole = kind(sigma, size)[0].numpy().astype(np.float64)
        expected = np.clip(whole @ image @ whole.T, 0, 1)
        np.testing.assert_allclose(got, expected, atol=2e-6)
