"""Colour operations on batches with a parameter per image; all compile under XLA.

Two families, because the official codes disagree: `tf_*` as TensorFlow and BYOL
define them on floats, `pil_*` as Pillow does on bytes (MoCo). An image batch is here
three planes (red, green, blue), float32 `[b, H, W]` in [0, 1]: the innermost loop then
runs over W and vectorises, which an innermost axis of 3 does not (measured: 1.4 times
faster under XLA on CPU). Parameters are float32 `[b]`; every operation clips.

Nothing here branches per image: `jitter` computes every operation in each of its four
places and selects.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

# ITU-R BT.601 luma; SimCLR, BYOL and tf.image use the rounded weights, PIL the full.
TF_LUMA = (0.2989, 0.587, 0.114)
PIL_LUMA = (0.299, 0.587, 0.114)

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)

Planes = list[tf.Tensor]


def split(images: tf.Tensor) -> Planes:
    """Splits `[b, H, W, 3]` into three `[b, H, W]`."""
    return list(tf.unstack(images, axis=-1))


def join(planes: Planes) -> tf.Tensor:
    """Three `[b, H, W]` to `[b, H, W, 3]`."""
    return tf.stack(planes, axis=-1)


def select(chosen: tf.Tensor, changed: Planes, original: Planes) -> Planes:
    """Per image: `changed` where bool `[b]` is true, `original` elsewhere."""
    chosen = per_image(chosen)
    return [tf.where(chosen, a, b) for a, b in zip(changed, original, strict=True)]


def per_image(parameter: tf.Tensor) -> tf.Tensor:
    """Reshapes `[b]` to `[b, 1, 1]`."""
    return tf.reshape(parameter, [-1, 1, 1])


def _clip(plane: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(plane, 0.0, 1.0)


def _luma(planes: Planes, weights: tuple[float, float, float]) -> tf.Tensor:
    red, green, blue = planes
    return weights[0] * red + weights[1] * green + weights[2] * blue


def _luma_byte(planes: Planes) -> tf.Tensor:
    """PIL's `convert("L")`, in [0, 255]."""
    return tf.round(_luma(planes, PIL_LUMA) * 255.0)


def tf_grayscale(planes: Planes) -> Planes:
    """Luma .2989/.587/.114 in all three channels (SimCLR, BYOL)."""
    return [_luma(planes, TF_LUMA)] * 3


def additive_brightness(planes: Planes, amount: tf.Tensor) -> Planes:
    """Computes `clip(x + amount)` (SimCLR v1, BYOL)."""
    return [_clip(plane + per_image(amount)) for plane in planes]


def multiplicative_brightness(planes: Planes, factor: tf.Tensor) -> Planes:
    """Computes `clip(x * factor)` (SimCLR v2)."""
    return [_clip(plane * per_image(factor)) for plane in planes]


def tf_contrast(planes: Planes, factor: tf.Tensor) -> Planes:
    """Computes `clip((x - m) * factor + m)`, m the mean of a channel of an image."""
    means = [tf.reduce_mean(plane, axis=[1, 2], keepdims=True) for plane in planes]
    return [
        _clip((plane - mean) * per_image(factor) + mean)
        for plane, mean in zip(planes, means, strict=True)
    ]


def tf_saturation(planes: Planes, factor: tf.Tensor) -> Planes:
    """Multiplies S of HSV by `factor` >= 0, clipped to 1.

    Needs no hue: with v the largest channel and d = v - smallest, S = d / v, and a
    change of S moves each channel c along v - c by the ratio min(factor, 1 / S).
    """
    value, spread = _value_spread(planes)
    limit = value / tf.where(spread > 0.0, spread, 1.0)
    ratio = tf.minimum(per_image(factor), limit)
    return [_clip(value - (value - plane) * ratio) for plane in planes]


def tf_hue(planes: Planes, delta: tf.Tensor) -> Planes:
    """Turns the hue of HSV by `delta` turns of the colour circle."""
    return from_turned(tf_turned(planes, delta))


def tf_turned(planes: Planes, delta: tf.Tensor) -> Planes:
    """Does half of `tf_hue`: returns hue in sixths, value, value less the smallest."""
    value, spread = _value_spread(planes)
    return [_hue_sixths(planes, spread) + 6.0 * per_image(delta), value, spread]


def _value_spread(planes: Planes) -> tuple[tf.Tensor, tf.Tensor]:
    """V of HSV and its lead over the smallest channel."""
    red, green, blue = planes
    value = tf.maximum(tf.maximum(red, green), blue)
    return value, value - tf.minimum(tf.minimum(red, green), blue)


def _hue_sixths(planes: Planes, spread: tf.Tensor) -> tf.Tensor:
    """Hue in sixths of the circle, in [-1, 5].

    Compares channels by order, never `value == red`: XLA recomputes a channel in
    another fusion with another rounding, and the equality then fails by one bit. At
    ties the two formulas agree, so the order is free to be wrong by one bit.
    """
    red, green, blue = planes
    scale = 1.0 / tf.where(spread > 0.0, spread, 1.0)
    return tf.where(
        (red >= green) & (red >= blue),
        (green - blue) * scale,
        tf.where(
            green >= blue, 2.0 + (blue - red) * scale, 4.0 + (red - green) * scale
        ),
    )


def from_turned(turned: Planes) -> Planes:
    """Does the other half: HSV to RGB, c = v - d * clip(min(k, 4 - k), 0, 1)."""
    sixths, value, spread = turned

    def channel(offset: float) -> tf.Tensor:
        k = sixths + offset
        k -= 6.0 * tf.floor(k * (1.0 / 6.0))
        return _clip(value - spread * _clip(tf.minimum(k, 4.0 - k)))

    return [channel(5.0), channel(3.0), channel(1.0)]


def _cut(x: tf.Tensor) -> tf.Tensor:
    """Largest integer below; the margin absorbs float32 noise of exact results."""
    return tf.floor(x + 2e-4)


def _blend(planes: Planes, other: list[tf.Tensor], factor: tf.Tensor) -> Planes:
    """PIL's `Image.blend(other, image, factor)`: the result is cut to a byte."""
    return [
        _cut(_clip(base + (plane - base) * per_image(factor)) * 255.0) / 255.0
        for plane, base in zip(planes, other, strict=True)
    ]


def pil_grayscale(planes: Planes) -> Planes:
    """Luma .299/.587/.114, rounded to a byte, in all three channels."""
    return [_luma_byte(planes) / 255.0] * 3


def pil_brightness(planes: Planes, factor: tf.Tensor) -> Planes:
    """Blend with black (torchvision `adjust_brightness`)."""
    return _blend(planes, [tf.zeros([])] * 3, factor)


def pil_contrast(planes: Planes, factor: tf.Tensor) -> Planes:
    """Blend with the image's mean luma, rounded to a byte (`adjust_contrast`)."""
    mean = tf.reduce_mean(_luma_byte(planes), axis=[1, 2], keepdims=True)
    return _blend(planes, [tf.floor(mean + 0.5) / 255.0] * 3, factor)


def pil_saturation(planes: Planes, factor: tf.Tensor) -> Planes:
    """Blend of every pixel with its luma (`adjust_saturation`)."""
    return _blend(planes, [_luma_byte(planes) / 255.0] * 3, factor)


def pil_hue(planes: Planes, delta: tf.Tensor) -> Planes:
    """Hue turned in bytes: H and S are cut to 1/255, the sum wraps at 256.

    The circle of 255 that wraps at 256 is PIL's (`adjust_hue` adds uint8 to uint8).
    """
    return pil_from_turned(pil_turned(planes, delta))


def pil_turned(planes: Planes, delta: tf.Tensor) -> Planes:
    """Does half of `pil_hue`: returns hue in sixths, value, value less the smallest."""
    value, spread = _value_spread(planes)
    turns = _hue_sixths(planes, spread) / 6.0
    hue = _cut((turns - tf.floor(turns)) * 255.0)
    shift = per_image(delta) * 255.0
    hue += tf.sign(shift) * _cut(tf.abs(shift))
    hue -= 256.0 * tf.floor(hue / 256.0)
    saturation = _cut(spread / tf.where(value > 0.0, value, 1.0) * 255.0) / 255.0
    return [hue * (6.0 / 255.0), value, value * saturation]


def pil_from_turned(turned: Planes) -> Planes:
    """Does the other half: `from_turned`, rounded to bytes."""
    return [tf.round(plane * 255.0) / 255.0 for plane in from_turned(turned)]


def grayscale(planes: Planes, pil: bool) -> Planes:
    """Makes grey by `pil_grayscale` or `tf_grayscale`."""
    return pil_grayscale(planes) if pil else tf_grayscale(planes)


def operations(
    brightness_mode: str, pil: bool
) -> dict[str, Callable[[Planes, tf.Tensor], Planes]]:
    """Returns the jitter's four operations by name, in the order of their numbers."""
    if pil:
        return {
            "brightness": pil_brightness,
            "contrast": pil_contrast,
            "saturation": pil_saturation,
            "hue": pil_hue,
        }
    additive = brightness_mode == "additive"
    return {
        "brightness": additive_brightness if additive else multiplicative_brightness,
        "contrast": tf_contrast,
        "saturation": tf_saturation,
        "hue": tf_hue,
    }


def jitter(
    planes: Planes,
    order: tf.Tensor,
    amounts: dict[str, tf.Tensor],
    *,
    brightness_mode: str,
    pil: bool,
) -> Planes:
    """Applies the four colour operations in an order of each image's own.

    Args:
      planes: Three `[b, H, W]` in [0, 1].
      order: int32 `[b, 4]`, row = permutation of 0 brightness, 1 contrast,
        2 saturation, 3 hue; first entry is applied first.
      amounts: `"brightness"`, `"contrast"`, `"saturation"`, `"hue"`, each `[b]`:
        the factor, the addend (additive brightness) or the turns (hue).
      brightness_mode: `"additive"` or `"multiplicative"`; PIL knows only the latter.
      pil: The `pil_*` operations, else the `tf_*` ones.

    Returns:
      Three `[b, H, W]`; each operation clips (SimCLR tf2/data_util.py, BYOL
      augmentations.py, torchvision ColorJitter).
    """
    changes = operations(brightness_mode, pil)
    for place in range(4):
        which = order[:, place]
        results = [op(planes, amounts[name]) for name, op in changes.items()]
        planes = results[HUE]
        for number in (SATURATION, CONTRAST, BRIGHTNESS):
            planes = select(tf.equal(which, number), results[number], planes)
    return planes


def solarize(planes: Planes, threshold: float) -> Planes:
    """Inverts pixels at and above the threshold (BYOL augmentations.py)."""
    return [tf.where(plane < threshold, plane, 1.0 - plane) for plane in planes]
