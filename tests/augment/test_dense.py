"""Views with boxes and masks: exact against slow NumPy, one law for all three."""

import math

import numpy as np
import pytest
import tensorflow as tf

from tfssl.augment import dense
from tfssl.core import seeds
from tfssl.errors import ConfigError

VIEW = dense.DenseView((8, 40), step=4, longest=60)
CANVAS = (24, 32)
SHAPES = [(17, 31), (30, 12), (24, 32), (1, 1), (2, 50), (96, 40)]
BOXES = np.array(
    [[0, 0, 1, 1], [0, 0, 12, 9], [5.5, 3.25, 30, 12], [1, 1, 1, 5], [-4, -9, 90, 50]],
    np.float32,
)


@tf.function(
    autograph=False,
    input_signature=[
        tf.TensorSpec([None, None, 3], tf.uint8),
        tf.TensorSpec([None, None, 1], tf.uint8),
        tf.TensorSpec([None, 4]),
        tf.TensorSpec([2], tf.int64),
    ],
)
def moved(image, mask, boxes, seed):
    shape = tf.shape(image)
    cut = dense.draw(VIEW, seed, shape[0], shape[1], CANVAS)
    found, kept = dense.moved_boxes(boxes, cut, VIEW.visible)
    return (
        cut,
        dense.moved_image(image, cut, CANVAS),
        dense.moved_mask(mask, cut, CANVAS),
        found,
        kept,
    )


def picture(height, width):
    rng = np.random.default_rng(height * 100 + width)
    image = rng.integers(0, 256, (height, width, 3), np.uint8)
    return image, rng.integers(0, 250, (height, width, 1), np.uint8)


def slow_mask(mask, cut):
    out = np.full((*CANVAS, 1), 255, np.uint8)
    (h, w), rows, columns = cut.source, int(cut.rows), int(cut.columns)
    for i in range(rows):
        for j in range(columns):
            y = math.floor((int(cut.top) + i + 0.5) * int(h) / int(cut.height))
            x = math.floor((int(cut.left) + j + 0.5) * int(w) / int(cut.width))
            out[i, columns - 1 - j if cut.mirrored else j] = mask[y, x]
    return out


def slow_box(box, cut, visible):
    (h, w), rows, columns = map(float, cut.source), float(cut.rows), float(cut.columns)
    y0, y1 = (v * float(cut.height) / h - float(cut.top) for v in (box[0], box[2]))
    x0, x1 = (v * float(cut.width) / w - float(cut.left) for v in (box[1], box[3]))
    if cut.mirrored:
        x0, x1 = columns - x1, columns - x0
    clipped = [min(max(y0, 0), rows), min(max(x0, 0), columns)]
    clipped += [min(max(y1, 0), rows), min(max(x1, 0), columns)]
    area = (clipped[2] - clipped[0]) * (clipped[3] - clipped[1])
    if clipped[2] <= clipped[0] or clipped[3] <= clipped[1]:
        return [0] * 4, False
    if area < visible * (y1 - y0) * (x1 - x0):
        return [0] * 4, False
    return clipped, True


def test_pixels_boxes_and_masks_move_as_slow_numpy_says():
    seen, flips, dropped = set(), set(), set()
    for number, shape in enumerate(SHAPES * 3):
        image, mask = picture(*shape)
        seed = seeds.step_seed(0, "geometry", number)
        cut, view, classes, boxes, kept = moved(image, mask, BOXES, seed)
        cut = dense.Cut(*(value.numpy() for value in cut))
        scale = min(cut.height / shape[0], cut.width / shape[1])
        assert max(cut.height, cut.width) <= VIEW.longest
        assert abs(cut.height - shape[0] * scale) < 1.5
        whole = tf.image.resize(image, [cut.height, cut.width], antialias=True).numpy()
        window = whole[cut.top :, cut.left :][: cut.rows, : cut.columns]
        window = np.clip(np.rint(window), 0, 255)[:, :: -1 if cut.mirrored else 1]
        assert window.shape[:2] == (cut.rows, cut.columns)
        shown = view[: cut.rows, : cut.columns].numpy().astype(int)
        # A sum in another order: halves may round to either side.
        assert np.abs(shown - window).max() <= 1
        assert (shown != window).mean() < 0.02
        assert (view[cut.rows :].numpy() == dense.FILL).all()
        assert (view[:, cut.columns :].numpy() == dense.FILL).all()
        np.testing.assert_array_equal(classes, slow_mask(mask, cut))
        slow = [slow_box(box, cut, VIEW.visible) for box in BOXES]
        np.testing.assert_array_equal(kept, [good for _, good in slow])
        np.testing.assert_allclose(boxes, [box for box, _ in slow], atol=2e-5)
        seen.add(min(cut.height, cut.width))
        flips.add(bool(cut.mirrored))
        dropped |= set(np.flatnonzero(~kept.numpy()).tolist())
    assert len(seen) > 4
    assert flips == {True, False}
    assert 3 in dropped  # it has no area
    assert len(dropped) > 1


def test_a_view_is_a_function_of_its_seed_and_the_sides_are_the_steps():
    drawn = tf.function(
        lambda n: dense.draw(
            VIEW,
            seeds.step_seed(1, "geometry", n),
            tf.constant(20),
            tf.constant(30),
            (9, 9),
        )
    )
    cuts = [drawn(tf.constant(n, tf.int64)) for n in range(200)]
    again = drawn(tf.constant(0, tf.int64))
    assert all(bool(tf.reduce_all(a == b)) for a, b in zip(cuts[0], again, strict=True))
    assert {int(c.height) for c in cuts} == set(range(8, 41, 4))
    tops = {int(c.top) for c in cuts if int(c.height) == 12}
    assert tops == {0, 1, 2, 3}


@pytest.mark.parametrize("shape", [(50, 20), (7, 90), (24, 32), (1, 3)])
def test_a_fitted_view_shows_everything_and_boxes_come_back(shape):
    image, mask = picture(*shape)
    cut = dense.fitted(*map(tf.constant, shape), CANVAS)
    assert int(cut.rows) == int(cut.height) <= CANVAS[0]
    assert int(cut.columns) == int(cut.width) <= CANVAS[1]
    assert CANVAS[0] - int(cut.rows) < 1 or CANVAS[1] - int(cut.columns) < 1
    h, w = shape
    inside = np.array([[0, 0, h, w], [h / 4, w / 8, h / 2, w]], np.float32)
    found, kept = dense.moved_boxes(inside, cut)
    assert kept.numpy().all()
    np.testing.assert_allclose(
        dense.restored_boxes(found, cut.source, [cut.height, cut.width]),
        inside,
        atol=1e-4,
    )


def test_numbers_that_draw_nothing_are_refused():
    with pytest.raises(ConfigError, match="shorter"):
        dense.DenseView((10, 8))
    with pytest.raises(ConfigError, match="visible"):
        dense.DenseView((8, 8), visible=1.5)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_whole_image_is_the_fitted_view_as_numbers(shape):
    image = np.random.default_rng(5).integers(0, 256, (*shape, 3), np.uint8)
    shown, cut = dense.whole_image(tf.constant(image), CANVAS)
    want = dense.fitted(*map(tf.constant, shape), CANVAS)
    assert [x.numpy().tolist() for x in cut] == [x.numpy().tolist() for x in want]
    pixels = dense.moved_image(tf.constant(image), want, CANVAS).numpy()
    np.testing.assert_allclose(shown, pixels / 255, atol=1e-7)
