"""Photometry for a CPU: one image after another, and only what was drawn for it.

`photometry.apply` computes every operation for every image and selects, which is what
accelerators want. A CPU is faster when it really branches: four colour operations an
image instead of sixteen, and a blur only where it was drawn. The numbers are the same
(to rounding: one float32 step or two), and both compile under XLA.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import tensorflow as tf

from tfssl.augment import blur, color, photometry, taps
from tfssl.augment.recipe_types import ViewRecipe


def apply(
    images: tf.Tensor,
    params: dict[str, tf.Tensor],
    view: ViewRecipe,
    mean: tuple[float, float, float] | None,
    std: tuple[float, float, float] | None,
) -> tf.Tensor:
    """As `photometry.apply`, image by image."""

    def one(row):
        image, chosen = row
        planes = color.split(photometry.to_float(image[None]))
        planes = _changed(planes, {k: v[None] for k, v in chosen.items()}, view)
        out = tf.clip_by_value(color.join(planes)[0], 0.0, 1.0)
        return photometry.normalize(out, mean, std)

    result = tf.TensorSpec(images.shape[1:], tf.float32)
    return tf.map_fn(one, (images, params), fn_output_signature=result)


def _changed(
    planes: color.Planes, chosen: dict[str, tf.Tensor], view: ViewRecipe
) -> color.Planes:
    """One image, planes `[1, S, S]`, and its row of the table, each `[1, ...]`."""
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

    def place(number, *planes):
        branches = [
            lambda change=change, name=name: list(change(list(planes), chosen[name]))
            for name, change in operations.items()
        ]
        return (number + 1, *tf.switch_case(chosen["order"][0, number], branches))

    first = (tf.constant(0), *planes)
    return list(tf.while_loop(lambda number, *_: number < 4, place, first)[1:])


def _blurred(planes: color.Planes, sigma: tf.Tensor, view: ViewRecipe) -> color.Planes:
    size = planes[0].shape[1]

    def apart(
        change: Callable[[], tf.Tensor], otherwise: Callable[[], tf.Tensor]
    ) -> tf.Tensor:
        # Always true, which XLA cannot know. Without a branch in between it computes
        # a step again for every tap of the next. Images are not paired with zeros:
        # then XLA moves the work out of the branch, and blurring takes thrice as long.
        return tf.cond(sigma[0] > 0.0, change, otherwise)

    if view.blur_border == "edge":
        reach = blur.pil_reach(view.blur_sigma[1])
        band = apart(
            lambda: taps.band(lambda n: blur.pil_matrix(sigma, n)[0], size, reach),
            lambda: tf.zeros([2 * reach + 1, size]),
        )
        along_rows, along_columns = taps.banded(band, 1), taps.banded(band, 2)
    else:
        reach = blur.gaussian_radius(size)
        kernel = apart(
            lambda: taps.gaussian(sigma[0], reach), lambda: tf.zeros([reach + 1])
        )
        along_rows = along_columns = taps.symmetric(kernel)
    image = tf.concat(planes, 0)
    rows = apart(
        lambda: taps.filter_rows(image, reach, along_rows),
        lambda: tf.pad(image, [[0, 0], [0, 0], [reach, reach]]),
    )
    both = apart(lambda: taps.filter_columns(rows, reach, along_columns), lambda: image)
    return tf.split(tf.clip_by_value(both, 0.0, 1.0), 3)
