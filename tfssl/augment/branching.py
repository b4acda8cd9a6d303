"""Photometry for a CPU: one image after another, and only what was drawn for it.

`photometry.apply` computes every operation for every image and selects, which is what
accelerators want. A CPU is faster when it really branches: four colour operations an
image instead of sixteen, and a blur only where it was drawn. The numbers are the same
(to rounding: one float32 step or two), and both compile under XLA.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfssl.augment import blur, color, photometry
from tfssl.augment.recipe_types import ViewRecipe

Weights = Callable[[tf.Tensor, int, int], tuple[blur.Weigh, blur.Weigh]]
"""Function of (sigma `[1]`, side, taps on either side) to the filters of both axes."""


def apply(
    images: tf.Tensor,
    params: dict[str, tf.Tensor],
    view: ViewRecipe,
) -> tf.Tensor:
    """Applies one view's rows of a table, image by image; see `photometry.apply`."""

    def one(row):
        image, chosen = row
        planes = color.split(photometry.to_float(image[None]))
        planes = _changed(planes, {k: v[None] for k, v in chosen.items()}, view)
        return tf.clip_by_value(color.join(planes)[0], 0.0, 1.0)

    result = tf.TensorSpec(images.shape[1:], tf.float32)
    return tf.map_fn(one, (images, params), fn_output_signature=result)


def _changed(
    planes: color.Planes, chosen: dict[str, tf.Tensor], view: ViewRecipe
) -> color.Planes:
    """Changes one image, planes `[1, S, S]`, by its row of the table, `[1, ...]`."""
    changes = photometry.STEPS | {
        "jitter": _jittered,
        "blur": lambda planes, drawn, view: _blurred(planes, drawn["sigma"], view),
    }
    for name in view.active:
        change = functools.partial(_with, changes[name], chosen, view)
        planes = _if(chosen[name][0], change, planes)
    return planes


def _with(change, chosen, view, planes: color.Planes) -> color.Planes:
    return change(planes, chosen, view)


def _if(chosen: tf.Tensor, change, planes: color.Planes) -> color.Planes:
    return list(tf.cond(chosen, lambda: list(change(planes)), lambda: list(planes)))


def _jittered(
    planes: color.Planes, chosen: dict[str, tf.Tensor], view: ViewRecipe
) -> color.Planes:
    operations = color.operations(view.brightness_mode, view.pil_color)
    operations["hue"] = functools.partial(_hue, view.pil_color)

    def place(number, *planes):
        branches = [
            lambda change=change, name=name: list(change(list(planes), chosen[name]))
            for name, change in operations.items()
        ]
        return (number + 1, *tf.switch_case(chosen["order"][0, number], branches))

    first = (tf.constant(0), *planes)
    return list(tf.while_loop(lambda number, *_: number < 4, place, first)[1:])


def _hue(pil: bool, planes: color.Planes, delta: tf.Tensor) -> color.Planes:
    """Turns hues in two halves: XLA would compute a hue once for each channel."""
    turn = color.pil_turned if pil else color.tf_turned
    back = color.pil_from_turned if pil else color.from_turned
    return back(
        _fenced(delta[0] > -9.0, lambda: turn(planes, delta), lambda: list(planes))
    )


def _blurred(planes: color.Planes, sigma: tf.Tensor, view: ViewRecipe) -> color.Planes:
    """Runs the shortest of a few filters that has all taps that this sigma needs."""
    size = planes[0].shape[1]
    if view.blur_border == "edge":
        weights, reaches = _pil_weights, blur.pil_reaches(view.blur_sigma[1])
    else:
        weights = _gaussian_weights
        reaches = blur.gaussian_reaches(blur.gaussian_radius(size))
    filters = [
        functools.partial(_filtered, planes, sigma, reach, weights) for reach in reaches
    ]
    limits = list(reaches.values())[:-1]
    if not limits:
        return filters[0]()
    number = tf.reduce_sum(tf.cast(sigma[0] >= limits, tf.int32))
    return tf.switch_case(number, filters)


def _filtered(
    planes: color.Planes, sigma: tf.Tensor, reach: int, weights: Weights
) -> color.Planes:
    # Joined and split in here: outside of the branch each would be one more copy.
    image = tf.concat(planes, 0)
    along_rows, along_columns = weights(sigma, image.shape[1], reach)
    rows = _fenced(
        sigma[0] > 0.0,
        lambda: blur.filter_rows(image, reach, along_rows),
        lambda: tf.pad(image, [[0, 0], [0, 0], [reach, reach]]),
    )
    both = _fenced(
        sigma[0] > 0.0,
        lambda: blur.filter_columns(rows, reach, along_columns),
        lambda: image,
    )
    return tf.split(tf.clip_by_value(both, 0.0, 1.0), 3)


def _pil_weights(
    sigma: tf.Tensor, size: int, reach: int
) -> tuple[blur.Weigh, blur.Weigh]:
    band = _fenced(
        sigma[0] > 0.0,
        lambda: blur.band(lambda n: blur.pil_matrix(sigma, n)[0], size, reach),
        lambda: tf.zeros([2 * reach + 1, size]),
    )
    return blur.banded(band, 1), blur.banded(band, 2)


def _gaussian_weights(
    sigma: tf.Tensor, size: int, reach: int
) -> tuple[blur.Weigh, blur.Weigh]:
    kernel = _fenced(
        sigma[0] > 0.0,
        lambda: blur.gaussian(sigma[0], blur.gaussian_radius(size), reach),
        lambda: tf.zeros([reach + 1]),
    )
    return (blur.symmetric(kernel),) * 2


def _fenced(
    always: tf.Tensor, change: Callable[[], Any], otherwise: Callable[[], Any]
) -> Any:
    """Runs `change()` so that XLA cannot merge it with what comes before or after.

    Without a branch in between it computes a step again for every use in the next.

    Args:
      always: bool scalar that is true; XLA cannot know that.
      change: Makes a tensor or a list of tensors.
      otherwise: The same shapes. No zeros where images are wanted: XLA then moves the
        work out of the branch, and blurring takes thrice as long.
    """
    return tf.cond(always, change, otherwise)
