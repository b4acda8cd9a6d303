"""Products of matrices cut the views that `geometry`'s kernels cut."""

import numpy as np
import pytest
import tensorflow as tf

from tfssl.augment import geometry, matrix_views
from tfssl.augment.recipes import RECIPES

SEED = tf.constant([5, 17], tf.int64)
BATCH = 24


def images(height, width):
    small = np.random.default_rng(2).integers(0, 256, (BATCH, 9, 9, 3), np.uint8)
    return tf.saturate_cast(tf.image.resize(small, [height, width], "bicubic"), "uint8")


def table_of(recipe, height, width):
    return matrix_views.sample(recipe, SEED, BATCH, height, width)


def cut_one_by_one(batch, table, recipe, size):
    """float32, not rounded yet."""
    out = np.empty([BATCH, len(recipe.views), size, size, 3], np.float32)
    for v, view in enumerate(recipe.views):
        for b in range(BATCH):
            y, x, h, w = (int(table[name][v, b]) for name in "yxhw")
            crop = batch[b, y : y + h, x : x + w]
            got = geometry.resize(
                crop, size, size, view.resize, view.resize == "bilinear"
            )
            got = np.clip(got, 0, 255)
            out[b, v] = got[:, ::-1] if table["flip"][v, b] else got
    return out


@pytest.mark.parametrize("name", ["simclr_cifar", "moco_cifar"])
@pytest.mark.parametrize(("height", "width", "size"), [(32, 32, 32), (64, 41, 24)])
def test_same_table_same_views(name, height, width, size):
    recipe, batch = RECIPES[name], images(height, width)
    table = table_of(recipe, height, width)
    got = matrix_views.views(batch, table, recipe, size).numpy()
    assert got.dtype == np.uint8
    want = cut_one_by_one(batch, table, recipe, size)
    # A value halfway between two bytes may be rounded to either.
    assert np.abs(got - want).max() < 0.5 + 1e-3
    assert 0 < np.mean(table["flip"]) < 1
    assert np.ptp(table["h"]) > 3 and np.ptp(table["y"]) > 3


def test_table_is_one_for_any_share_of_the_batch_and_differs_by_view_and_seed():
    recipe = RECIPES["byol_cifar"]
    table = table_of(recipe, 32, 32)
    again = table_of(recipe, 32, 32)
    other = matrix_views.sample(recipe, SEED + 1, BATCH, 32, 32)
    for name, values in table.items():
        assert values.shape == (2, BATCH)
        np.testing.assert_array_equal(values, again[name])
        assert np.any(values != other[name]), name
        assert np.any(values[0] != values[1]), name


@pytest.mark.slow
@pytest.mark.parametrize("name", ["simclr_cifar", "byol_cifar", "moco_cifar"])
def test_compiled_for_accelerators(name):
    recipe, batch = RECIPES[name], images(32, 32)
    table = table_of(recipe, 32, 32)

    @tf.function(jit_compile=True, autograph=False)
    def views(batch, table):
        return matrix_views.views(batch, table, recipe, 32)

    difference = np.abs(
        views(batch, table).numpy().astype(int)
        - matrix_views.views(batch, table, recipe, 32)
    )
    assert difference.max() <= 1 and np.mean(difference > 0) < 1e-2

    @tf.function(jit_compile=True, autograph=False)
    def drawn(seed):
        return matrix_views.sample(recipe, seed, BATCH, 32, 32)

    table = drawn(SEED)
    assert all(np.ptp(table[side]) > 3 for side in "yxhw")
