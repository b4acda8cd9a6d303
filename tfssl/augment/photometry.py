"""Colour, blur and solarisation of a batch, beside the model.

Two pure steps. `sample` draws a small table for the whole global batch from a seed, so
the numbers do not depend on how many replicas there are. `apply` is deterministic,
has static shapes and no control flow: wrap it in `tf.function(jit_compile=True)`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfssl.augment import ablation, color
from tfssl.augment import blur as blur_ops
from tfssl.augment.recipes import Recipe, ViewRecipe

_ORDERS = np.array(list(itertools.permutations(range(4))), np.int32)
# One column of uniform numbers each. Any change, also one at the end, gives other
# numbers to a run that is resumed: `ablation` therefore draws apart.
_COLUMNS = (
    "jitter",
    "order",
    "brightness",
    "contrast",
    "saturation",
    "hue",
    "gray",
    "blur",
    "sigma",
    "solarize",
)


def sample(recipe: Recipe, seed: tf.Tensor, batch: int) -> dict[str, tf.Tensor]:
    """Draws what `apply` needs, for all views of the global batch.

    Args:
      recipe: Any recipe.
      seed: int64 `[2]`; the same seed gives the same table on any number of replicas.
      batch: Global batch size, a Python integer (static shapes).

    Under `jit_compile=True` XLA draws other numbers than the plain kernel from the same
    seed (measured on TF 2.21, CPU): the law is the same, but a run must stay with one.

    Returns:
      Tensors `[V, batch, ...]`: `jitter`, `gray`, `blur`, `solarize` bool;
      `order` int32 `[V, batch, 4]`; `brightness`, `contrast`, `saturation`, `hue`
      float32, final factors or addends; `sigma` float32, pixels, equal in all rows of
      a view whose `blur_sigma_per` is "batch"; for recipes with an operator of
      SimCLR's ablation also what `ablation.sample` returns.
    """
    uniform = tf.random.stateless_uniform(
        [len(recipe.views), batch, len(_COLUMNS)], seed, alg="philox"
    )
    tables = [
        _view_table(view, dict(zip(_COLUMNS, tf.unstack(rows, axis=-1), strict=True)))
        for view, rows in zip(recipe.views, tf.unstack(uniform), strict=True)
    ]
    table = {name: tf.stack([t[name] for t in tables]) for name in tables[0]}
    if ablation.needed(recipe):
        table |= ablation.sample(recipe, seed, batch)
    return table


def _view_table(view: ViewRecipe, u: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    def factor(name: str) -> tf.Tensor:
        delta = getattr(view, name)
        low = max(1.0 - delta, 0.0)
        return low + (1.0 + delta - low) * u[name]

    bright = factor("brightness")
    if view.brightness_mode == "additive":
        bright = (2.0 * u["brightness"] - 1.0) * view.brightness
    low, high = view.blur_sigma
    sigma = low + (high - low) * u["sigma"]
    if view.blur_sigma_per == "batch":
        sigma = tf.fill(tf.shape(sigma), sigma[0])
    number = tf.minimum(tf.cast(u["order"] * len(_ORDERS), tf.int32), len(_ORDERS) - 1)
    return {
        "jitter": u["jitter"] < view.jitter,
        "order": tf.gather(_ORDERS, number),
        "brightness": bright,
        "contrast": factor("contrast"),
        "saturation": factor("saturation"),
        "hue": (2.0 * u["hue"] - 1.0) * view.hue,
        "gray": u["gray"] < view.gray,
        "blur": u["blur"] < view.blur,
        "sigma": sigma,
        "solarize": u["solarize"] < view.solarize,
    }


def apply(
    images: tf.Tensor,
    params: dict[str, tf.Tensor],
    view: ViewRecipe,
) -> tf.Tensor:
    """Applies one view's rows of a `sample` table.

    Order: the view's `steps`, clip; flips were done by `crops`, and what the encoder
    wants of its images is the encoder's (`models.images`).

    Args:
      images: `[b, S, S, 3]` RGB, uint8, or float in [0, 1].
      params: One view's rows, tensors `[b, ...]`.
      view: Decides at trace time which operations exist at all.

    Returns:
      float32 `[b, S, S, 3]` in [0, 1].
    """
    x = color.split(to_float(images))
    for name in view.active:
        x = color.select(params[name], STEPS[name](x, params, view), x)
    return tf.clip_by_value(color.join(x), 0.0, 1.0)


def to_float(images: tf.Tensor) -> tf.Tensor:
    """uint8 times 1/255; float is taken as [0, 1] already. Returns float32."""
    if images.dtype == tf.uint8:
        return tf.cast(images, tf.float32) * np.float32(1.0 / 255.0)
    return tf.cast(images, tf.float32)


def _jittered(
    planes: color.Planes, params: dict[str, tf.Tensor], view: ViewRecipe
) -> color.Planes:
    return color.jitter(
        planes,
        params["order"],
        params,
        brightness_mode=view.brightness_mode,
        pil=view.pil_color,
    )


def _blurred(planes: color.Planes, sigma: tf.Tensor, view: ViewRecipe) -> color.Planes:
    size = planes[0].shape[1]
    if view.blur_sigma_per == "batch":
        sigma = sigma[:1]
    if view.blur_border == "edge":
        return blur_ops.blur(planes, blur_ops.pil_matrix(sigma, size))
    return blur_ops.blur(planes, blur_ops.gaussian_matrix(sigma, size))


Params = dict[str, tf.Tensor]
STEPS: dict[str, Callable[[color.Planes, Params, ViewRecipe], color.Planes]] = {
    "jitter": _jittered,
    "gray": lambda x, _, view: color.grayscale(x, view.pil_color),
    "blur": lambda x, drawn, view: _blurred(x, drawn["sigma"], view),
    "solarize": lambda x, _, view: color.solarize(x, view.solarize_threshold),
    "recrop": lambda x, drawn, _: ablation.recrop(
        x, drawn["recrop_box"], drawn["mirrored"]
    ),
    "cutout": lambda x, drawn, _: ablation.cutout(
        x, drawn["cutout_center"], drawn["cutout_side"]
    ),
    "sobel": lambda x, *_: ablation.sobel(x),
    "noise": lambda x, drawn, _: ablation.noise(
        x, drawn["noise_sigma"], drawn["noise_key"]
    ),
    "rotate": lambda x, drawn, _: ablation.rotate(x, drawn["turns"]),
}
"""What each step of a view does to all images, given the view's rows of the table."""
