"""Regions against slow NumPy, and against numbers worked by hand."""

import math

import numpy as np
import pytest
import tensorflow as tf

from tfssl.models import regions

RNG = np.random.default_rng(0)


def random_boxes(*shape, side=64.0):
    corners = RNG.uniform(0, side, (*shape, 2, 2))
    return np.sort(corners, -2).reshape(*shape, 4).astype(np.float32)


def slow_overlap(a, b):
    height = max(min(a[2], b[2]) - max(a[0], b[0]), 0)
    width = max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    areas = [(x[2] - x[0]) * (x[3] - x[1]) for x in (a, b)]
    union = sum(areas) - height * width
    return height * width / union if union else 0.0


def slow_roi_align(features, boxes, side, stride):
    """One place at a time, as detectron2's kernel says it (`aligned`, adaptive)."""
    batch, rows, columns, channels = features.shape
    out = np.zeros((batch, boxes.shape[1], side, side, channels))

    def at(image, y, x):
        y, x = min(max(y, 0), rows - 1), min(max(x, 0), columns - 1)
        y0, x0 = int(y), int(x)
        y1, x1 = min(y0 + 1, rows - 1), min(x0 + 1, columns - 1)
        v, u = y - y0, x - x0
        top = features[image, y0, x0] * (1 - u) + features[image, y0, x1] * u
        low = features[image, y1, x0] * (1 - u) + features[image, y1, x1] * u
        return top * (1 - v) + low * v

    for image, number in np.ndindex(*boxes.shape[:2]):
        y0, x0, y1, x1 = boxes[image, number] / stride
        height, width = (y1 - y0) / side, (x1 - x0) / side
        down, right = (max(math.ceil(x), 1) for x in (height, width))
        for i, j in np.ndindex(side, side):
            for k, m in np.ndindex(down, right):
                y = y0 - 0.5 + height * (i + (k + 0.5) / down)
                x = x0 - 0.5 + width * (j + (m + 0.5) / right)
                out[image, number, i, j] += at(image, y, x) / (down * right)
    return out


def test_roi_align_is_detectron2s():
    features = RNG.normal(size=(2, 12, 9, 2)).astype(np.float32)
    boxes = random_boxes(2, 4, side=70.0) * [1.3, 1, 1.3, 1]
    boxes[0, 0] = [0, 0, 96, 72]  # the whole image: several places a bin
    boxes[0, 1] = [8, 8, 9, 9]  # less than a cell
    boxes = boxes.astype(np.float32)
    found = regions.roi_align(tf.constant(features), tf.constant(boxes), 3, 8)
    want = slow_roi_align(features, boxes, 3, 8)
    np.testing.assert_allclose(found, want, atol=2e-5)
    half = regions.roi_align(tf.constant(features, tf.float16), boxes, 3, 8)
    assert half.dtype == tf.float16


def test_anchors_by_hand():
    found = regions.anchor_boxes(2, 3, 16, (32, 64))
    assert found.shape == (2 * 3 * 2 * 3, 4)
    # A size of 32 at a ratio of 1/2: 45.25 wide and 22.63 high, about pixel (16, 32).
    low, wide = 32 * math.sqrt(0.5), 32 * math.sqrt(2)
    want = [16 - low / 2, 32 - wide / 2, 16 + low / 2, 32 + wide / 2]
    np.testing.assert_allclose(found[(1 * 3 + 2) * 6], want, rtol=1e-6)
    np.testing.assert_allclose(found[1], [-16, -16, 16, 16])
    np.testing.assert_allclose(found[5], [-wide, -low, wide, low], rtol=1e-6)


def test_offsets_by_hand_and_back():
    box = tf.constant([[10.0, 20.0, 30.0, 60.0]])  # 20 x 40 about (20, 40)
    origin = tf.constant([[10.0, 10.0, 20.0, 30.0]])  # 10 x 20 about (15, 20)
    found = regions.encoded(box, origin, (10, 10, 5, 5))
    want = [[5.0, 10.0, 5 * math.log(2), 5 * math.log(2)]]
    np.testing.assert_allclose(found, want, rtol=1e-6)
    boxes, origins = random_boxes(3, 7), random_boxes(3, 7)
    told = regions.encoded(boxes, origins, (10, 10, 5, 5))
    back = regions.decoded(told, origins, (10, 10, 5, 5))
    sides, others = (b[..., 2:] - b[..., :2] for b in (boxes, origins))
    large = np.any(sides > 60 * others, -1)
    np.testing.assert_allclose(back[~large], boxes[~large], atol=2e-3)
    huge = regions.decoded(tf.constant([[0.0, 0, 50, 50]]), origin, (1, 1, 1, 1))
    np.testing.assert_allclose(huge[0, 2] - huge[0, 0], 10 * 1000 / 16, rtol=1e-5)
    nothing = regions.encoded(tf.zeros([1, 4]), tf.zeros([1, 4]), (1, 1, 1, 1))
    assert np.isfinite(nothing).all()


def test_overlaps_and_matching_by_hand():
    boxes, objects = random_boxes(2, 9), random_boxes(2, 4)
    found = regions.overlaps(tf.constant(boxes), tf.constant(objects)).numpy()
    for b, n, m in np.ndindex(found.shape):
        assert found[b, n, m] == pytest.approx(
            slow_overlap(boxes[b, n], objects[b, m]), abs=1e-5
        )
    shared = tf.constant(
        [[[0.8, 0.1], [0.5, 0.6], [0.2, 0.1], [0.0, 0.29], [0.0, 0.0]]]
    )
    there = tf.constant([[True, True]])
    match, kind = regions.matched(shared, there, below=0.3, above=0.7)
    assert match.numpy().tolist()[0][:4] == [0, 1, 0, 1]
    assert kind.numpy().tolist() == [[1, -1, 0, 0, 0]]
    # Object 1 has no box of .7: the one that overlaps it most is its own.
    _, kind = regions.matched(shared, there, below=0.3, above=0.7, best=True)
    assert kind.numpy().tolist() == [[1, 1, 0, 0, 0]]
    # An object that is none, and one that nothing overlaps, are nobody's.
    lone = tf.constant([[True, False]])
    match, kind = regions.matched(shared, lone, below=0.3, above=0.7, best=True)
    assert kind.numpy().tolist() == [[1, -1, 0, 0, 0]]
    assert not match.numpy().any()
    _, kind = regions.matched(0 * shared, there, below=0.3, above=0.7, best=True)
    assert not kind.numpy().any()


@pytest.mark.parametrize(("above", "want"), [(0.5, 1), (0.7, -1)])
def test_a_bound_itself_is_no_background(above, want):
    half = tf.constant([[[0.5]]])
    _, kind = regions.matched(half, tf.constant([[True]]), below=0.5, above=above)
    assert kind.numpy().tolist() == [[want]]


@pytest.mark.parametrize(
    ("objects", "background", "want"),
    [
        (20, 100, (4, 12)),
        (2, 100, (2, 14)),
        (20, 3, (4, 3)),
        (0, 5, (0, 5)),
        (0, 0, (0, 0)),
    ],
)
def test_a_quarter_is_drawn_of_objects(objects, background, want):
    row = np.array([1] * objects + [0] * background + [-1] * 30)
    kind = np.stack([RNG.permutation(row) for _ in range(2)]).astype(np.int32)
    order = RNG.permuted(np.tile(np.arange(row.size), (2, 1)), axis=1).astype(np.int32)
    drawn = regions.sampled(tf.constant(kind), tf.constant(order), 16, 0.25).numpy()
    for image in range(2):
        got = [(drawn[image] & (kind[image] == k)).sum() for k in (1, 0, -1)]
        assert tuple(got) == (*want, 0)
        # Whichever come first in a random order.
        own = order[image][kind[image] == 1]
        taken = order[image][drawn[image] & (kind[image] == 1)]
        assert sorted(taken) == sorted(own)[len(own) - want[0] :]
    place, counts = regions.in_slots(tf.constant(drawn), tf.constant(order), 16)
    for image in range(2):
        number = sum(want)
        assert counts.numpy()[image].tolist() == [True] * number + [False] * (
            16 - number
        )
        if number:  # spare slots repeat what was drawn
            assert set(place.numpy()[image]) == set(np.flatnonzero(drawn[image]))


def test_proposals_are_greedy_suppression():
    boxes = random_boxes(2, 40)
    boxes[0, :5] = [9, 9, 9, 30]  # no area
    scores = RNG.normal(size=(2, 40)).astype(np.float32)
    found, there = regions.proposals(
        tf.constant(scores), tf.constant(boxes), before=30, after=12, overlap=0.3
    )
    for image in range(2):
        kept = []
        for place in np.argsort(-scores[image])[:30]:
            box = boxes[image, place]
            empty = (box[2:] <= box[:2]).any()
            if not empty and all(slow_overlap(box, k) <= 0.3 for k in kept):
                kept.append(box)
        kept = kept[:12]
        assert there.numpy()[image].sum() == len(kept) > 3
        np.testing.assert_array_equal(found.numpy()[image][: len(kept)], kept)
        assert not found.numpy()[image][len(kept) :].any()
    none, there = regions.proposals(
        tf.zeros([1, 6]), tf.zeros([1, 6, 4]), before=30, after=12, overlap=0.3
    )
    assert none.shape == (1, 6, 4)
    assert not there.numpy().any()
