"""Rows cut several at a time are those cut one by one, whatever is unreadable."""

import functools
import io
import os

import numpy as np
import pytest
import tensorflow as tf

from tfssl.augment import RECIPES, named
from tfssl.data import Folder, parse_split, rows
from tfssl.data.encoded import Encoded
from tfssl.data.rows import ViewRows

SIZE = 24


def rows_of(source, recipe="simclr"):
    recipe = RECIPES.get(recipe) or named(recipe)
    return ViewRows(source, recipe, seed=5, image_size=SIZE, report=True)


def places(count, start=0):
    numbers = tf.range(start, start + count, dtype=tf.int64)
    return numbers + 1000, numbers


def names(listing):
    return sorted(os.path.basename(entry["path"]) for entry in listing)


def write_jpegs(folder):
    """Every mode, subsampling and kind of scan, in sizes that blocks do not divide."""
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    number = 0
    for height, width in ((96, 131), (33, 47), (17, 16), (1, 1)):
        noise = rng.integers(0, 256, (height, width, 3), np.uint8)
        for mode in ("RGB", "L", "CMYK"):
            for subsampling in (0, 1, 2):
                out = io.BytesIO()
                image.fromarray(noise).convert(mode).save(
                    out, "JPEG", subsampling=subsampling, progressive=number % 2 == 1
                )
                (folder / f"{number:03}.jpg").write_bytes(out.getvalue())
                number += 1
    return Folder(str(folder), parse_split("all"))


@pytest.mark.parametrize("recipe", ["simclr", "byol", "moco_v2", "figure5:crop"])
def test_part_of_a_jpeg_gives_the_views_of_the_whole(tmp_path, recipe):
    source = write_jpegs(tmp_path)
    assert source.mostly_jpeg()
    cut = rows_of(source, recipe)
    count = source.num_examples
    pairs = tf.data.Dataset.from_tensor_slices(places(count))
    parts = pairs.map(functools.partial(cut._jpeg, look=False))
    for part, whole in zip(parts, pairs.map(cut.row), strict=True):
        assert part.keys() == whole.keys()
        for name in whole:
            np.testing.assert_array_equal(part[name], whole[name])
            assert part[name].dtype == whole[name].dtype


@pytest.mark.parametrize("jpeg", ["plain", "look", ""])
def test_unreadable_rows_are_replaced_in_their_places(
    tmp_path, files, monkeypatch, jpeg
):
    good, bad = files.hostile(tmp_path)
    source = Folder(str(tmp_path), parse_split("all"))
    monkeypatch.setattr(Encoded, "mostly_jpeg", lambda self: jpeg)
    cut, count = rows_of(source), len(good) + len(bad)
    position, index = places(count)
    alone = tf.data.Dataset.from_tensor_slices((position, index)).map(cut.row)
    singly = list(alone.batch(count).get_single_element().items())
    source._skips._reasons.clear()
    together = tf.function(cut.rows)(position, index)
    for name, value in singly:
        np.testing.assert_array_equal(together[name], value)
    assert names(source.skipped()) == bad


def test_readable_rows_are_made_once_and_never_with_care(tmp_path, files):
    seen = []

    def careful(position, index):
        def call(number):
            seen.append(int(number))
            return np.int64(-number)

        return {"x": tf.ensure_shape(tf.numpy_function(call, [index], tf.int64), [])}

    def quick(position, index):
        check = tf.raw_ops.Assert(condition=index % 3 != 1, data=["no"])
        with tf.control_dependencies([check]):
            return {"x": position}

    made_of = tf.function(lambda *given: rows.batch_rows(*given, quick, careful))
    made = made_of(*places(7))["x"]
    assert seen == [1, 4]
    np.testing.assert_array_equal(made, [1000, -1, 1002, 1003, -4, 1005, 1006])
    assert made_of(*places(1, start=4))["x"].numpy() == [-4]
    np.testing.assert_array_equal(made_of(*places(1, start=5))["x"], [1005])


@pytest.mark.slow
def test_bytes_behind_every_jpeg_decode_no_more_of_it(tmp_path, monkeypatch):
    """Cameras append some; input took twice as long when all of it was decoded."""
    image = pytest.importorskip("PIL.Image")
    decode, windows = tf.io.decode_and_crop_jpeg, []

    def noted(data, window, **options):
        def note(window):
            windows.append(int(window[2] * window[3]))
            return window

        return decode(data, tf.numpy_function(note, [window], tf.int32), **options)

    monkeypatch.setattr(tf.io, "decode_and_crop_jpeg", noted)
    decoded = {}
    for name, behind in (("none", b""), ("film", b"ftyp" * 999)):
        (tmp_path / name).mkdir()
        for number in range(8):
            out = io.BytesIO()
            image.new("RGB", (160, 120), (number, 9, 9)).save(out, "JPEG")
            (tmp_path / name / f"{number}.jpg").write_bytes(out.getvalue() + behind)
        source = Folder(str(tmp_path / name), parse_split("all"))
        quick = rows_of(source, "moco_v2")._quick()
        pairs = tf.data.Dataset.from_tensor_slices(places(8))
        assert sum(1 for _ in pairs.map(quick)) == 8  # none of them fails
        decoded[name] = sum(windows)
        windows.clear()
    assert decoded["none"] < 8 * 160 * 120 * 0.9
    assert decoded["film"] == decoded["none"]


def test_a_jpeg_cut_short_is_unreadable_wherever_the_views_lie(tmp_path):
    """The upper half would decode; it is not used, so that counts do not vary."""
    source = write_jpegs(tmp_path)
    path = tmp_path / source.paths[0]
    path.write_bytes(path.read_bytes()[:-2])
    cut = rows_of(source)
    with pytest.raises(tf.errors.InvalidArgumentError, match="no end"):
        cut._jpeg(tf.constant(0, tf.int64), tf.constant(0, tf.int64), look=False)
    source.max_pixels = 96 * 131 - 1
    with pytest.raises(tf.errors.InvalidArgumentError, match="too large"):
        cut._jpeg(tf.constant(0, tf.int64), tf.constant(1, tf.int64), look=False)


@pytest.mark.parametrize(
    ("batch", "size"), [(64, 16), (50, 10), (7, 7), (17, 1), (1, 1)]
)
def test_rows_at_once_divide_the_batch(batch, size):
    assert rows.rows_at_once(batch) == size


def test_other_formats_do_not_try_the_way_of_jpegs(tmp_path, files):
    files.tree(tmp_path, ["a"], 3)
    source = Folder(str(tmp_path), parse_split("all"))
    assert not source.mostly_jpeg()
    with pytest.raises(tf.errors.InvalidArgumentError):
        source.jpeg(tf.constant(0, tf.int64))


def test_recipes_have_one_shape(tmp_path):
    source = write_jpegs(tmp_path)
    for name, recipe in RECIPES.items():
        made = rows_of(source, name).rows(*places(3))
        assert made["views"].shape == (3, len(recipe.views), SIZE, SIZE, 3)
