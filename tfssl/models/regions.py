"""Regions of Faster R-CNN: anchors, matching, coding, sampling, suppression, RoIAlign.

Pure functions of static shapes, with the numbers and rules of detectron2's C4 networks
(1506.01497, 1703.06870). Boxes are y0, x0, y1, x1 in pixels, ends exclusive; what fills
a row up to its static length is all zeros.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

RATIOS = (0.5, 1.0, 2.0)
"""Heights of anchors over their widths."""

LARGEST = math.log(1000 / 16)
"""The logarithm of the most that a box is larger than the one that it is told from."""

_THIN = 1e-6
_NEVER = -1.0


def anchor_boxes(
    rows: int, columns: int, stride: int, sizes: Sequence[int]
) -> np.ndarray:
    """Places a box of each size and ratio at each cell's first pixel.

    Args:
      rows: Of the map; likewise `columns`.
      columns: Cells in a row.
      stride: Pixels from one cell to the next.
      sizes: Square roots of the areas, in pixels.

    Returns:
      float32 `[rows * columns * len(sizes) * 3, 4]`: cells in rows, in each the sizes,
      of each the `RATIOS`. They may leave the image.
    """
    widths = np.array([size / math.sqrt(ratio) for size in sizes for ratio in RATIOS])
    heights = widths * np.tile(RATIOS, len(sizes))
    half = np.stack([heights, widths], -1) / 2
    cell = np.concatenate([-half, half], -1)
    y, x = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    first = np.stack([y, x, y, x], -1).reshape(-1, 1, 4) * stride
    return (first + cell).reshape(-1, 4).astype(np.float32)


def overlaps(boxes: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """Intersection over union of `[..., n, 4]` and `[..., m, 4]`: `[..., n, m]`."""
    boxes, others = boxes[..., :, None, :], others[..., None, :, :]
    low = tf.maximum(boxes[..., :2], others[..., :2])
    high = tf.minimum(boxes[..., 2:], others[..., 2:])
    shared = tf.reduce_prod(tf.maximum(high - low, 0.0), -1)
    areas = [tf.reduce_prod(b[..., 2:] - b[..., :2], -1) for b in (boxes, others)]
    return tf.math.divide_no_nan(shared, areas[0] + areas[1] - shared)


def encoded(
    boxes: tf.Tensor, origins: tf.Tensor, weights: Sequence[float]
) -> tf.Tensor:
    """Tells boxes from others: `(dy / h, dx / w, log H / h, log W / w)` times weights.

    Args:
      boxes: float32 `[..., 4]`, of size H x W.
      origins: float32 `[..., 4]`, of size h x w; dy and dx are between the centres.
      weights: Four factors.
    """
    centre, size = _centred(boxes)
    start, sides = _centred(origins)
    moved = tf.concat([(centre - start) / sides, tf.math.log(size / sides)], -1)
    return moved * tf.constant(weights, tf.float32)


def decoded(
    offsets: tf.Tensor, origins: tf.Tensor, weights: Sequence[float]
) -> tf.Tensor:
    """The boxes that `encoded` told; no side grows by more than `exp(LARGEST)`."""
    offsets /= tf.constant(weights, tf.float32)
    start, sides = _centred(origins)
    centre = start + offsets[..., :2] * sides
    half = 0.5 * sides * tf.exp(tf.minimum(offsets[..., 2:], LARGEST))
    return tf.concat([centre - half, centre + half], -1)


def _centred(boxes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    sides = boxes[..., 2:] - boxes[..., :2]
    return boxes[..., :2] + 0.5 * sides, tf.maximum(sides, _THIN)


def clipped(boxes: tf.Tensor, canvas: Sequence[int]) -> tf.Tensor:
    """Clips boxes `[..., 4]` to a canvas of (height, width)."""
    return tf.clip_by_value(boxes, 0.0, tf.constant([*canvas] * 2, tf.float32))


def matched(
    shared: tf.Tensor,
    there: tf.Tensor,
    *,
    below: float,
    above: float,
    best: bool = False,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Decides which object a box is about.

    Args:
      shared: float32 `[b, n, m]`, overlaps of boxes with objects.
      there: bool `[b, m]`, whether it is an object.
      below: Boxes with less overlap are background.
      above: Boxes with this overlap or more are of the object; between the two they
        are neither.
      best: The box that overlaps an object most is of an object whatever the overlap,
        if there is any; all of them where several do alike.

    Returns:
      (int32 `[b, n]`: the object that is overlapped most; int32 `[b, n]`: 1 object, 0
      background, -1 neither.)
    """
    shared = tf.where(there[:, None], shared, _NEVER)
    most = tf.reduce_max(shared, -1)
    kind = tf.where(most >= above, 1, tf.where(most < below, 0, -1))
    if best:
        highest = tf.reduce_max(shared, 1, keepdims=True)
        first = tf.reduce_any((shared == highest) & (highest > 0.0), -1)
        kind = tf.where(first, 1, kind)
    return tf.argmax(shared, -1, tf.int32), kind


def sampled(
    kind: tf.Tensor, order: tf.Tensor, count: int, positive: float
) -> tf.Tensor:
    """Draws boxes of objects, and fills up with background.

    Args:
      kind: int32 `[b, n]`: 1 object, 0 background, -1 neither.
      order: int32 `[b, n]` at least 0, uniform: the greatest are drawn.
      count: Boxes of an image at most.
      positive: Most of them that are of objects, as a share.

    Returns:
      bool `[b, n]`. Fewer than `count` where an image has fewer.
    """
    objects = tf.where(kind == 1, order, -1)
    chosen = _greatest(objects, tf.constant(int(count * positive)), count)
    rest = count - tf.reduce_sum(tf.cast(chosen, tf.int32), -1)
    return chosen | _greatest(tf.where(kind == 0, order, -1), rest, count)


def _greatest(values: tf.Tensor, number: tf.Tensor, most: int) -> tf.Tensor:
    """Where the `number` (at most `most`) greatest of `[b, n]` are; never below 0."""
    first = tf.math.top_k(values, min(most, values.shape[1])).values
    number += tf.zeros_like(first[:, 0])
    last = tf.clip_by_value(number - 1, 0, first.shape[1] - 1)
    least = tf.maximum(tf.gather(first, last, axis=1, batch_dims=1), 0)
    return (values >= least[:, None]) & (number > 0)[:, None]


def in_slots(
    chosen: tf.Tensor, order: tf.Tensor, slots: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Lines chosen boxes up in a fixed number of slots.

    Slots that are left repeat the chosen ones from the first on, without counting:
    statistics of a batch then see no region that nobody drew.

    Args:
      chosen: bool `[b, n]`, at most `slots` in each row.
      order: int32 `[b, n]` at least 0, see `sampled`.
      slots: Length of the result.

    Returns:
      (int32 `[b, slots]`: which box; bool `[b, slots]`: it counts.)
    """
    found = tf.math.top_k(tf.where(chosen, order, -1), slots).indices
    number = tf.reduce_sum(tf.cast(chosen, tf.int32), -1, keepdims=True)
    slot = tf.range(slots)[None]
    repeated = slot % tf.clip_by_value(number, 1, slots)
    return tf.gather(found, repeated, axis=1, batch_dims=1), slot < number


def proposals(
    scores: tf.Tensor, boxes: tf.Tensor, *, before: int, after: int, overlap: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """The best boxes that do not overlap each other.

    Args:
      scores: float32 `[b, n]`.
      boxes: float32 `[b, n, 4]`; those without an area are left out.
      before: Most that are looked at, the best.
      after: Most that are kept, the best.
      overlap: Of two that overlap more, the better one is kept.

    Returns:
      (float32 `[b, min(after, n), 4]`, the best first, zeros behind the last; bool
      `[b, min(after, n)]`: there is one.)
    """
    best = tf.math.top_k(scores, min(before, scores.shape[1]))
    boxes = tf.gather(boxes, best.indices, axis=1, batch_dims=1)
    area = tf.reduce_all(boxes[..., 2:] > boxes[..., :2], -1, keepdims=True)
    boxes = tf.where(area, boxes, 0.0)  # zeros are no box to the suppression
    after = min(after, boxes.shape[1])
    places, number = tf.image.non_max_suppression_padded(
        boxes,
        best.values,
        after,
        overlap,
        pad_to_max_output_size=True,
        sorted_input=True,
        canonicalized_coordinates=True,
        tile_size=min(512, boxes.shape[1]),
    )
    there = tf.range(after)[None] < tf.reshape(number, [-1, 1])
    places = tf.where(there, tf.reshape(places, [-1, after]), 0)
    kept = tf.gather(boxes, places, axis=1, batch_dims=1)
    return tf.where(there[..., None], kept, 0.0), there


def roi_align(
    features: tf.Tensor, boxes: tf.Tensor, side: int, stride: int
) -> tf.Tensor:
    """Cuts regions out of a map: RoIAlign (1703.06870), "aligned" as detectron2's v2.

    Pixel centres are at halves. A bin is the mean of `ceil(h / side) x ceil(w / side)`
    places, evenly spread, of a region of h x w cells; each is bilinear in its four
    cells, beyond the border's centre the border's value. As products with matrices:
    any device computes them, forward and backward, in the same order.

    Args:
      features: `[b, H, W, C]`.
      boxes: float32 `[b, n, 4]` in pixels, inside of the image.
      side: Bins along each axis.
      stride: Pixels of a cell.

    Returns:
      `[b, n, side, side, C]`, the type of the features. No gradient reaches the boxes.
    """
    boxes = tf.stop_gradient(boxes) / stride
    first = boxes[..., :2] - 0.5
    size = boxes[..., 2:] - boxes[..., :2]
    rows, columns = (
        tf.cast(_bins(first[..., k], size[..., k], side, cells), features.dtype)
        for k, cells in enumerate(features.shape[1:3])
    )
    tall = tf.einsum("bnih,bhwc->bniwc", rows, features)
    return tf.einsum("bnjw,bniwc->bnijc", columns, tall)


def _bins(first: tf.Tensor, size: tf.Tensor, bins: int, cells: int) -> tf.Tensor:
    """Weights of cells in bins along one axis, float32 `[b, n, bins, cells]`."""
    first, step = (x[..., None, None] for x in (first, size / bins))
    most = -(-cells // bins)
    count = tf.clip_by_value(tf.math.ceil(step), 1.0, float(most))
    number = tf.range(most, dtype=tf.float32)
    bin_ = tf.range(bins, dtype=tf.float32)[:, None]
    place = first + step * (bin_ + (number + 0.5) / count)
    place = tf.clip_by_value(place, 0.0, cells - 1.0)
    share = tf.where(number < count, 1.0 / count, 0.0)
    cell = tf.range(cells, dtype=tf.float32)
    near = tf.maximum(1.0 - tf.abs(place[..., None] - cell), 0.0)
    return tf.reduce_sum(near * share[..., None], -2)
