"""Views cut by our own machine code: TensorFlow's bits, and no way to break a run."""

import dataclasses
import importlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfssl.augment import RECIPES, crops, native
from tfssl.augment.recipe_types import ViewRecipe
from tfssl.data import parse_split, training
from tfssl.data.shapes import Shapes

ROOT = Path(__file__).parents[2]
RESIZES = ("bicubic", "bilinear")


@pytest.fixture(scope="module", autouse=True)
def this_machine_has_it():
    assert native.available()


def photo(height, width):
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)


def cut(image, rows, size):
    @tf.function(input_signature=[tf.TensorSpec([None, None, 3], tf.uint8)])
    def run(image):
        return native.cut_views(image, tf.constant(rows, tf.int32), size)

    return run(image).numpy()


def by_tensorflow(image, row, size):
    view = ViewRecipe(resize=RESIZES[row[-1]])
    made = tf.constant(row, tf.int32)
    return crops.TENSORFLOW.cut(tf.constant(image), made[None], [view], size)[0].numpy()


@pytest.mark.parametrize("soft", [0, 1])
@pytest.mark.parametrize("size", [1, 7, 32, 224])
def test_it_has_the_bits_of_tensorflows_operations(size, soft):
    """Any crop of any image: enlarged, shrunk by up to 1200, a line, a pixel, a rim."""
    rng = np.random.default_rng(size)
    for height, width in ((375, 500), (1, 1), (1, 90), (64, 3), (1200, 70)):
        image = photo(height, width)
        rows = [[0, 0, height, width, 0, soft], [0, 0, height, width, 1, soft]]
        for _ in range(6):
            h, w = rng.integers(1, height + 1), rng.integers(1, width + 1)
            corner = rng.integers(0, height + 1 - h), rng.integers(0, width + 1 - w)
            rows.append([*corner, h, w, rng.integers(2), soft])
        for row, view in zip(rows, cut(image, rows, size), strict=True):
            want = by_tensorflow(image, row, size)
            np.testing.assert_array_equal(view, want, str(row))


def test_enlarged_stripes_overshoot_and_are_clipped():
    image = np.zeros((16, 16, 3), np.uint8)
    image[:, 8:] = 255
    [view] = cut(image, [[0, 0, 16, 16, 0, 0]], 64)
    assert (view[:, :30] < 20).all() and (view[:, 34:] > 235).all()


@pytest.mark.parametrize(
    "row",
    [
        [-1, 0, 3, 3], [0, -1, 3, 3], [0, 0, 0, 3], [0, 0, 3, 0], [0, 0, 3, -2],
        [3, 0, 3, 3], [0, 5, 3, 3], [2**31 - 1, 0, 3, 3], [0, 0, 2**31 - 1, 3],
    ],
)  # fmt: skip
def test_a_view_outside_of_its_image_is_refused(row):
    good = [0, 0, 5, 7, 0, 0]
    for number, rows in enumerate(([[*row, 0, 0], good], [good, [*row, 1, 1]])):
        with pytest.raises(tf.errors.InvalidArgumentError, match="not within its im"):
            cut(photo(5, 7), rows, 4 + number)


def test_no_size_is_refused():
    with pytest.raises(tf.errors.InvalidArgumentError, match="a size >= 1"):
        cut(photo(5, 7), [[0, 0, 5, 7, 0, 0]], 0)


def test_what_is_no_image_or_no_table_is_refused_before_it_runs():
    for image, columns in (((5, 7, 4), 6), ((5, 7), 6), ((5, 7, 3), 5)):
        with pytest.raises(ValueError, match=r"[Ss]hape"):
            tf.function(
                lambda i=image, c=columns: native.cut_views(
                    tf.zeros(i, tf.uint8), tf.zeros([2, c], tf.int32), 4
                )
            )()


def batches(recipe, **settings):
    source = Shapes(parse_split("train"), examples=12, image_size=48)
    made = training(
        source, recipe, seed=3, start_step=0, global_batch=6, replica_batch=6,
        image_size=40, **settings,
    )  # fmt: skip
    return list(made.take(2).as_numpy_iterator())


@pytest.mark.parametrize("name", RECIPES)
def test_a_run_sees_the_same_views_with_it_and_without(name, monkeypatch):
    called = []

    def spy(*arguments):
        called.append(arguments)
        return direct(*arguments)

    direct = native.cut_views
    monkeypatch.setattr(native, "cut_views", spy)
    with_it = batches(RECIPES[name], cutter=crops.host_cutter(this_process=True))
    assert called
    called.clear()
    without = batches(RECIPES[name], cutter=crops.host_cutter(this_process=False))
    for one, other in zip(with_it, without, strict=True):
        for key in one:
            np.testing.assert_array_equal(one[key], other[key])
    assert not called


def test_without_it_tensorflow_cuts(monkeypatch):
    assert crops.host_cutter(this_process=True) is crops.NATIVE
    monkeypatch.setattr(native, "available", lambda: False)
    assert crops.host_cutter(this_process=True) is crops.TENSORFLOW


def test_one_crop_for_both_views_is_cut_once():
    recipe = dataclasses.replace(RECIPES["simclr"], shared_crop=True)
    image, seed = tf.constant(photo(40, 50)), tf.constant([1, 2], tf.int64)
    first, second = crops.views(image, recipe, seed, 16)
    one, two = tf.function(lambda: crops.views(image, recipe, seed, 16, crops.NATIVE))()
    np.testing.assert_array_equal(one, first)
    np.testing.assert_array_equal(two, second)


def test_loading_the_module_again_ends_nothing():
    """As Jupyter's autoreload does; TensorFlow aborts on a name registered twice."""
    assert native.available()
    from tfssl.augment.native import operation

    importlib.reload(operation).register()
    assert cut(photo(5, 7), [[0, 0, 5, 7, 0, 0]], 4).shape == (1, 4, 4, 3)


def python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


WITHOUT_NUMBA = """
import sys
sys.modules["numba"] = None
from tfssl.augment import native
assert not native.available() and not native.available()
"""


def test_without_numba_it_says_so_once():
    done = python(WITHOUT_NUMBA)
    assert done.returncode == 0, done.stderr
    [line] = [line for line in done.stderr.splitlines() if "views are cut" in line]
    assert "numba" in line and "requirements.txt" in line


FULL_DISK = """
from numba.core import caching
def save(*_):
    print("asked to save")
    raise OSError(28, "No space left on device")
caching.IndexDataCacheFile.save = save
from tfssl.augment import native
assert native.available()
"""


@pytest.mark.slow
def test_a_cache_that_cannot_be_written_only_costs_time(tmp_path):
    done = python(FULL_DISK, NUMBA_CACHE_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout == "asked to save\n"
    assert "views are cut" not in done.stderr
