"""Operators that only SimCLR's ablation has: recrop, cutout, Sobel, noise, rotation.

arXiv 2002.05709, Figures 4 and 5; their code was never published, and the paper names
no numbers: ranges and borders are ours, see `figure5`. Planes as in `color`: three
float32 `[b, S, S]` in [0, 1]; everything has static shapes and compiles under XLA.
"""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from tfssl.augment import boxes, matrix_views
from tfssl.augment.color import Planes, per_image
from tfssl.augment.recipe_types import ABLATION_STEPS, Recipe, ViewRecipe

_GREY = 0.5
_COLUMNS = (
    *ABLATION_STEPS,
    "mirrored",
    "center_y",
    "center_x",
    "side",
    "noise_sigma",
    "turns",
)
_RECROP_ATTEMPTS = 8  # all are too small once in 1e10 images
_RECROP_DRAWS = 2 * _RECROP_ATTEMPTS + 2
_RECROP_SIDE = 4096  # pixels of the square on which SimCLR's law of the box is asked


def needed(recipe: Recipe) -> bool:
    """Returns whether a view of the recipe has one of these operators."""
    return any(name in ABLATION_STEPS for view in recipe.views for name in view.active)


def sample(recipe: Recipe, seed: tf.Tensor, batch: int) -> dict[str, tf.Tensor]:
    """Draws the parameters of these operators, for all views of the global batch.

    Args:
      recipe: Any recipe.
      seed: int64 `[2]`, as of `photometry.sample`; other numbers come from it.
      batch: Global batch size.

    Returns:
      Tensors `[V, batch, ...]`: bool `recrop`, `mirrored`, `cutout`, `sobel`, `noise`,
      `rotate`; `recrop_box` float32 `[V, batch, 4]`, top, left, height and width as
      shares of the side; `cutout_center` `[V, batch, 2]` and `cutout_side`, shares;
      `noise_sigma` float32; `noise_key` int32, which names an image's own noise;
      `turns` int32, quarter turns counter-clockwise, 1 to 3.
    """
    # Callers' first words are below 2**31, so that these two seeds are nobody else's.
    first, second = (
        seed + tf.constant([number << 32, 0], tf.int64) for number in (1, 2)
    )
    shape = [len(recipe.views), batch]
    columns = len(_COLUMNS) + _RECROP_DRAWS
    uniform = tf.random.stateless_uniform([*shape, columns], first, alg="philox")
    keys = tf.random.stateless_uniform(
        shape, second, minval=None, maxval=None, dtype=tf.int32, alg="philox"
    )
    tables = [
        _view_table(view, rows) | {"noise_key": key}
        for view, rows, key in zip(
            recipe.views, tf.unstack(uniform), tf.unstack(keys), strict=True
        )
    ]
    return {name: tf.stack([t[name] for t in tables]) for name in tables[0]}


def _view_table(view: ViewRecipe, uniform: tf.Tensor) -> dict[str, tf.Tensor]:
    """Makes the table of a view from uniform numbers `[batch, columns]`."""
    count = len(_COLUMNS)
    u = dict(zip(_COLUMNS, tf.unstack(uniform[:, :count], axis=-1), strict=True))

    def between(bounds: tuple[float, float], position: tf.Tensor) -> tf.Tensor:
        return bounds[0] + (bounds[1] - bounds[0]) * position

    chances = {name: u[name] < getattr(view, name) for name in ABLATION_STEPS}
    return chances | {
        "mirrored": u["mirrored"] < view.flip,
        "recrop_box": _recrop_box(view, uniform[:, count:]),
        "cutout_center": tf.stack([u["center_y"], u["center_x"]], -1),
        "cutout_side": between(view.cutout_side, u["side"]),
        "noise_sigma": between(view.noise_sigma, u["noise_sigma"]),
        "turns": 1 + tf.minimum(tf.cast(3.0 * u["turns"], tf.int32), 2),
    }


def _recrop_box(view: ViewRecipe, uniform: tf.Tensor) -> tf.Tensor:
    """Draws boxes by SimCLR's law (`boxes.simclr_boxes`), whatever the images' side.

    Args:
      view: Holds `area` and `aspect`.
      uniform: float32 `[b, _RECROP_DRAWS]` in [0, 1): aspect and height of each
        attempt in turn, then one row and one column.

    Returns:
      float32 `[b, 4]`: top, left, height, width as shares of the side.
    """
    sides = [uniform[:, n : 2 * _RECROP_ATTEMPTS : 2] for n in (0, 1)]
    places = [tf.repeat(uniform[:, n, None], _RECROP_ATTEMPTS, 1) for n in (-2, -1)]
    box = boxes.simclr_boxes(view, [*sides, *places], _RECROP_SIDE, _RECROP_SIDE)
    return tf.cast(tf.stack(box, -1), tf.float32) / _RECROP_SIDE


def box_pixels(box: tf.Tensor, size: int) -> tf.Tensor:
    """Returns a box in whole pixels: sides rounded, offsets cut.

    Args:
      box: float32 `[b, 4]` of `sample`, shares.
      size: Side S.

    Returns:
      float32 `[b, 4]` of integers: y, x, h, w; 1 <= h <= S and y + h <= S.
    """
    sides = tf.clip_by_value(tf.round(box[:, 2:] * size), 1.0, float(size))
    corner = tf.minimum(tf.floor(box[:, :2] * size), size - sides)
    return tf.concat([corner, sides], -1)


def recrop(planes: Planes, box: tf.Tensor, mirrored: tf.Tensor) -> Planes:
    """Cuts a box out of every image, resizes it to the image's size, flips it.

    Args:
      planes: Three float32 `[b, S, S]`.
      box: float32 `[b, 4]` of `sample`, shares.
      mirrored: bool `[b]`.

    Returns:
      Three float32 `[b, S, S]`, bicubic as `geometry.resize`, clipped to [0, 1].
    """
    size = planes[0].shape[1]
    y, x, h, w = tf.unstack(tf.cast(box_pixels(box, size), tf.int32), axis=-1)
    rows = matrix_views.bicubic(y, h, size, size)
    columns = matrix_views.bicubic(x, w, size, size)
    columns = tf.where(per_image(mirrored), tf.reverse(columns, [1]), columns)
    return [
        tf.clip_by_value(
            tf.matmul(tf.matmul(rows, plane), columns, transpose_b=True), 0.0, 1.0
        )
        for plane in planes
    ]


def cutout(planes: Planes, center: tf.Tensor, side: tf.Tensor) -> Planes:
    """Greys a square out; the part of it outside of the image is lost.

    After DeVries and Taylor, arXiv 1708.04552, whose squares hold the mean colour.

    Args:
      planes: Three `[b, S, S]`.
      center: float32 `[b, 2]`, (y, x) in [0, 1] of the side.
      side: float32 `[b]`, of the image's side.
    """
    size = planes[0].shape[1]
    place = (np.arange(size, dtype=np.float32) + 0.5) / size
    away = tf.abs(place - center[:, :, None])  # [b, 2, S]
    inside = away < side[:, None, None] / 2.0
    hole = inside[:, 0, :, None] & inside[:, 1, None, :]
    return [tf.where(hole, _GREY, plane) for plane in planes]


def sobel(planes: Planes) -> Planes:
    """Computes the length of every channel's gradient, `min(sqrt(gx^2 + gy^2), 1)`.

    gx and gy by Sobel's kernels (1 2 1 across, -1 0 1 along), mirrored at the border
    without repeating the edge, as `tf.image.sobel_edges`.
    """
    return [_gradient(plane) for plane in planes]


def _gradient(plane: tf.Tensor) -> tf.Tensor:
    padded = tf.pad(plane, [[0, 0], [1, 1], [1, 1]], "REFLECT")
    rows = padded[:, :-2] + 2.0 * padded[:, 1:-1] + padded[:, 2:]
    columns = padded[:, :, :-2] + 2.0 * padded[:, :, 1:-1] + padded[:, :, 2:]
    gx = rows[:, :, 2:] - rows[:, :, :-2]
    gy = columns[:, 2:] - columns[:, :-2]
    return tf.minimum(tf.sqrt(gx * gx + gy * gy), 1.0)


def noise(planes: Planes, sigma: tf.Tensor, key: tf.Tensor) -> Planes:
    """Adds Gaussian noise, `clip(x + sigma * n)`, n standard normal.

    n of a pixel is a hash of the image's key and the pixel's number: so it depends on
    nothing but the table, whatever part of the batch is computed where and how.

    Args:
      planes: Three `[b, S, S]`.
      sigma: float32 `[b]`.
      key: int32 `[b]`.
    """
    size = planes[0].shape[1]
    key = tf.reshape(tf.bitcast(key, tf.uint32), [-1, 1, 1])
    changed = []
    for channel, plane in enumerate(planes):
        first = channel * size * size
        numbers = np.arange(first, first + size * size, dtype=np.uint32)
        word = _mixed(_mixed(tf.constant(numbers.reshape(1, size, size))) + key)
        # Box and Muller's transform of two uniform numbers.
        radius = tf.sqrt(-2.0 * tf.math.log(_uniform(word)))
        angle = 2.0 * math.pi * _uniform(_mixed(word + np.uint32(0x9E3779B9)))
        normal = radius * tf.cos(angle)
        changed.append(tf.clip_by_value(plane + per_image(sigma) * normal, 0.0, 1.0))
    return changed


def _mixed(word: tf.Tensor) -> tf.Tensor:
    """Maps uint32 one to one, so that every bit depends on every bit.

    Shifts and multipliers: C. Wellons, "Prospecting for hash functions" (lowbias32).
    """
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        word = tf.bitwise.bitwise_xor(word, _shifted(word, shift))
        word *= np.uint32(factor)
    return tf.bitwise.bitwise_xor(word, _shifted(word, 16))


def _shifted(word: tf.Tensor, bits: int) -> tf.Tensor:
    return tf.bitwise.right_shift(word, np.uint32(bits))


def _uniform(word: tf.Tensor) -> tf.Tensor:
    """Returns the upper 23 bits as float32 in (0, 1), neither end included."""
    upper = tf.cast(tf.bitcast(_shifted(word, 9), tf.int32), tf.float32)
    return (upper + 0.5) * np.float32(2.0**-23)


def rotate(planes: Planes, turns: tf.Tensor) -> Planes:
    """Turns by quarters, counter-clockwise (as `numpy.rot90`); `turns` int32 `[b]`."""
    odd, up, left = (
        per_image(chosen)
        for chosen in (
            tf.equal(turns % 2, 1),
            tf.equal(turns, 1) | tf.equal(turns, 2),
            tf.equal(turns, 2) | tf.equal(turns, 3),
        )
    )
    for change, chosen in (
        (lambda x: tf.transpose(x, [0, 2, 1]), odd),
        (lambda x: tf.reverse(x, [1]), up),
        (lambda x: tf.reverse(x, [2]), left),
    ):
        planes = [tf.where(chosen, change(plane), plane) for plane in planes]
    return planes
