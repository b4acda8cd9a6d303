import numpy as np
import pytest

from tfssl.data.drawing import class_of, draw, draw_image
from tfssl.data.outlines import CLASS_NAMES, OUTLINES
from tfssl.errors import DataError


@pytest.mark.parametrize("name", CLASS_NAMES)
def test_outlines_fit_the_unit_circle(name):
    axis = np.linspace(-1.5, 1.5, 301, dtype=np.float32)
    x, y = np.meshgrid(axis, axis)
    inside = OUTLINES[name](x, y) < 0
    area = inside.mean() * 9
    assert 0.4 < area < 2.5
    assert np.hypot(x, y)[inside].max() < 1.01


@pytest.mark.parametrize(
    ("name", "point", "expected"),
    [
        ("disk", (0, 0), -0.85),
        ("square", (0, 0), -0.68),
        ("square", (0.68, 0.3), 0.0),
        ("square", (1.68, 0.3), 1.0),
        ("square", (-1.68, 0.3), 1.0),
        ("cross", (0.93 + 4, 0.25 + 3), 5.0),
        ("triangle", (0.3, 1.5), 1.0),
        ("ring", (0.7, 0), -0.22),
        ("ring", (0, 0), 0.48),
    ],
)
def test_distances_against_geometry(name, point, expected):
    x, y = (np.full((1, 1), value, np.float32) for value in point)
    np.testing.assert_allclose(OUTLINES[name](x, y), expected, atol=1e-5)


def test_inside_of_a_polygon_against_a_slow_rule():
    angles = np.arange(10) * np.pi / 5  # the star again, by signed crossings
    radii = np.where(np.arange(10) % 2, 0.42, 1.0)
    corners = np.stack([radii * np.sin(angles), -radii * np.cos(angles)], 1)
    rng = np.random.default_rng(0)
    for x, y in rng.uniform(-1, 1, (400, 2)):
        turns = 0.0
        for a, b in zip(corners, np.roll(corners, -1, 0), strict=True):
            a, b = a - (x, y), b - (x, y)
            turns += np.arctan2(a[0] * b[1] - a[1] * b[0], a @ b)
        inside = abs(turns) > np.pi
        value = OUTLINES["star"](
            np.full((1, 1), x, np.float32), np.full((1, 1), y, np.float32)
        )
        assert (value < 0) == inside


def test_deterministic_and_equal_with_and_without_masks():
    for index in range(20):
        first, second = draw(index, "train", 32), draw(index, "train", 32)
        np.testing.assert_array_equal(first.image, second.image)
        np.testing.assert_array_equal(first.masks, second.masks)
        np.testing.assert_array_equal(first.image, draw_image(index, "train", 32))
        assert first.image.dtype == np.uint8 and first.image.shape == (32, 32, 3)
        assert first.label == class_of(index)


def test_no_held_out_picture_is_a_training_picture():
    train = {draw_image(i, "train", 32).tobytes() for i in range(600)}
    test = {draw_image(i, "test", 32).tobytes() for i in range(300)}
    assert len(train) == 600 and len(test) == 300
    assert not train & test


@pytest.mark.parametrize("size", [16, 32, 100])
def test_boxes_are_the_bounds_of_the_masks(size):
    counts = set()
    for index in range(60):
        drawing = draw(index, "train", size)
        counts.add(len(drawing.boxes))
        assert drawing.masks.shape == (len(drawing.boxes), size, size)
        assert drawing.masks.sum(0).max() <= 1  # the objects do not overlap
        for (y0, x0, y1, x1), mask in zip(drawing.boxes, drawing.masks, strict=True):
            assert 0 <= y0 < y1 <= size and 0 <= x0 < x1 <= size
            box = np.zeros_like(mask)
            box[int(y0) : int(y1), int(x0) : int(x1)] = True
            assert not (mask & ~box).any()
            inner = mask[int(y0) : int(y1), int(x0) : int(x1)]
            assert inner[[0, -1]].any(1).all() and inner[:, [0, -1]].any(0).all()
    assert max(counts) > 5 and min(counts) >= 1


def test_the_same_scene_at_every_size():
    for index in range(30):
        small, large = draw(index, "train", 32), draw(index, "train", 128)
        np.testing.assert_allclose(small.boxes * 4, large.boxes, atol=6)
        reduced = large.image.reshape(32, 4, 32, 4, 3).mean((1, 3))
        assert np.abs(reduced - small.image).mean() < 4  # hard edges: 6


def test_objects_stand_out_from_the_background():
    for index in range(100):
        drawing = draw(index, "train", 64)
        luma = drawing.image.mean(-1) / 255
        ground = luma[~drawing.masks.any(0)].mean()
        for mask in drawing.masks:
            assert abs(luma[mask].mean() - ground) > 0.1


def test_raw_pixels_do_not_give_the_class_away():
    size = 32
    train = np.stack([draw_image(i, "train", size) for i in range(1000)])
    test = np.stack([draw_image(i, "test", size) for i in range(200)])
    train, test = (x.reshape(len(x), -1) / np.float32(255) for x in (train, test))
    distance = (train**2).sum(1) - 2 * test @ train.T
    near = class_of(distance.argsort(1)[:, :20])
    votes = np.array([np.bincount(row, minlength=10).argmax() for row in near])
    assert (votes == class_of(np.arange(200))).mean() < 0.25


def test_classes_are_balanced_at_every_stride():
    labels = class_of(np.arange(10_000))
    assert (np.sort(labels.reshape(-1, 10), 1) == np.arange(10)).all()
    assert class_of(123) == labels[123]
    for stride in (2, 3, 5, 10, 20, 50, 100):
        counts = np.bincount(labels[::stride], minlength=10)
        assert counts.min() > 0.5 * counts.mean()


def test_errors():
    with pytest.raises(DataError, match="16"):
        draw(0, "train", 8)
    with pytest.raises(DataError, match="train"):
        draw(0, "trian", 32)
