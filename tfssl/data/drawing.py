"""Draws the pictures of the `shapes` data set, from nothing but an index.

A picture holds several objects of ONE class: only the outline says which, since
place, size, rotation, stretch, colours and texture are drawn afresh for every object,
so that two crops of a picture share the class and little else. Backgrounds are alike
between pictures and vary within them, or a method without labels would tell pictures
apart by their backgrounds and never look at an outline. A scene is numbers in
units of the picture's side; size enters only when pixels are computed. The objects do
not touch each other, nor the border.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np

from tfssl.data.outlines import CLASS_NAMES, OUTLINES, Outline
from tfssl.errors import DataError, message, unknown

MIN_SIZE = 16
SPLIT_STREAMS = {"train": 0x7A11, "test": 0x7E57}  # first word of the random stream
_OBJECTS = (5, 9)  # wanted; fewer where they do not fit
_RADIUS = (0.12, 0.17)
_MOST, _SIZES = 7, (0.1, 0.24)  # of a scene
_SCENES = 0x5CE7E  # a third word, which the stream of `draw` has not
SEEN = 12  # pixels
_TURN = 0.35  # radians either way
Cut = tuple[slice, slice, np.ndarray]
_TEXTURES = 6  # plain, gradient, stripes, checks, dots, noise


class Drawing(NamedTuple):
    """One picture and everything that is known about it.

    Attributes:
      image: uint8 `[size, size, 3]`.
      label: Class in [0, 10), an index into `CLASS_NAMES`.
      boxes: float32 `[objects, 4]`: y0, x0, y1, x1 in pixels, ends exclusive; the
        bounding boxes of `masks`.
      masks: bool `[objects, size, size]`: the pixels at least half covered.
    """

    image: np.ndarray
    label: int
    boxes: np.ndarray
    masks: np.ndarray


def class_of(index: Any) -> Any:
    """The class of picture `index`: each class once in every ten pictures.

    Every ten are rotated by another amount (the multiplier is Knuth's, near 2**32 over
    the golden ratio), so that every tenth picture is a sample of all classes too.

    Args:
      index: An integer, or int64 array or tensor, below 2**31.

    Returns:
      The same type, in [0, 10).
    """
    return (index + index // 10 * 2654435761 // 65536) % 10


def draw(index: int, split: str, size: int) -> Drawing:
    """Draws picture `index` of a split; the same scene at every size.

    Args:
      index: >= 0; the class is `class_of(index)`.
      split: `"train"` or `"test"`: disjoint random streams.
      size: Side in pixels, >= 16.

    Raises:
      DataError: Unknown split, or a size below 16.
    """
    image, cuts = _paint(index, split, size)
    masks = np.zeros((len(cuts), size, size), bool)
    boxes = np.zeros((len(cuts), 4), np.float32)
    for mask, box, (rows, columns, cover) in zip(masks, boxes, cuts, strict=True):
        mask[rows, columns] = cover >= 0.5
        box[:] = _bounds(mask)
    return Drawing(image, class_of(index), boxes, masks)


class Scene(NamedTuple):
    """A picture of objects of several classes, some in front of others.

    Attributes:
      image: uint8 `[size, size, 3]`.
      classes: int64 `[objects]`.
      boxes: float32 `[objects, 4]`, as of `Drawing`; of what is seen of each.
      masks: bool `[objects, size, size]`: the pixels of each that are seen.
    """

    image: np.ndarray
    classes: np.ndarray
    boxes: np.ndarray
    masks: np.ndarray


def draw_scene(index: int, split: str, size: int) -> Scene:
    """Draws scene `index` of a split: crowding, truncation, a class for each object.

    Up to seven objects of any sizes; a disc may reach into another by a quarter of
    both radii, and out of the picture by all of its own. What is drawn later stands in
    front. An object of which fewer than `SEEN` pixels are seen is not listed.

    Args:
      index: >= 0.
      split: `"train"` or `"test"`: disjoint random streams, apart from `draw`'s.
      size: Side in pixels, >= 16.

    Raises:
      DataError: Unknown split, or a size below 16.
    """
    rng = _stream(split, size, index, _SCENES)
    luma, canvas = _ground(rng, size)
    classes, masks = [], []
    for place in _crowd(rng):
        label = int(rng.integers(len(CLASS_NAMES)))
        outline = OUTLINES[CLASS_NAMES[label]]
        rows, columns, cover = _object(rng, canvas, outline, place, luma, size)
        mask = np.zeros((size, size), bool)
        mask[rows, columns] = cover >= 0.5
        masks = [other & ~mask for other in masks]
        classes.append(label)
        masks.append(mask)
    seen = [number for number, mask in enumerate(masks) if mask.sum() >= SEEN]
    kept = np.array([masks[n] for n in seen], bool).reshape(-1, size, size)
    boxes = np.array([_bounds(mask) for mask in kept], np.float32).reshape(-1, 4)
    return Scene(_bytes(canvas), np.array(classes, np.int64)[seen], boxes, kept)


def draw_image(index: int, split: str, size: int) -> np.ndarray:
    """The `image` of `draw`, without boxes and masks."""
    return _paint(index, split, size)[0]


def too_small(size: int) -> str:
    """The text of the error for pictures in which no outline could be seen."""
    return message(f"shapes of {size} pixels", f">= {MIN_SIZE}", "image_size=32")


def _paint(index: int, split: str, size: int) -> tuple[np.ndarray, list[Cut]]:
    """The picture, and (rows, columns, coverage) of every object."""
    rng = _stream(split, size, index)
    luma, canvas = _ground(rng, size)
    outline = OUTLINES[CLASS_NAMES[class_of(index)]]
    cuts = [_object(rng, canvas, outline, place, luma, size) for place in _places(rng)]
    return _bytes(canvas), cuts


def _stream(split: str, size: int, *numbers: int) -> np.random.Generator:
    if split not in SPLIT_STREAMS:
        raise DataError(unknown("split of shapes", split, SPLIT_STREAMS))
    if size < MIN_SIZE:
        raise DataError(too_small(size))
    stream = np.random.SeedSequence([SPLIT_STREAMS[split], *numbers])
    return np.random.Generator(np.random.Philox(stream))


def _ground(rng: np.random.Generator, size: int) -> tuple[float, np.ndarray]:
    """What stands behind the objects, and its brightness."""
    luma = rng.uniform(0.45, 0.55)
    canvas = _background(rng, luma, size)
    _strokes(rng, canvas, size)
    return luma, canvas


def _bytes(canvas: np.ndarray) -> np.ndarray:
    pixels = (_clip(canvas) * 255 + 0.5).astype(np.uint8)
    return np.ascontiguousarray(np.moveaxis(pixels, 0, -1))


def _bounds(mask: np.ndarray) -> tuple[int, int, int, int]:
    """The box of a mask, ends exclusive."""
    ys, xs = mask.any(1).nonzero()[0], mask.any(0).nonzero()[0]
    return ys[0], xs[0], ys[-1] + 1, xs[-1] + 1


def _clip(x: np.ndarray) -> np.ndarray:
    """To [0, 1]; on small arrays several times faster than `np.clip`."""
    return np.minimum(np.maximum(x, np.float32(0)), np.float32(1))


def _color(rng: np.random.Generator, luma: float, vivid: float) -> np.ndarray:
    """A colour of a random hue and about the given brightness, `[3, 1, 1]`."""
    hue, chroma = rng.random(2).tolist()
    wheel = [math.cos(2 * math.pi * (hue - third / 3)) for third in range(3)]
    color = [luma + vivid * chroma * c for c in wheel]
    return np.array(color, np.float32)[:, None, None]


@functools.lru_cache(maxsize=64)
def _centers(size: int) -> np.ndarray:
    return ((np.arange(size) + 0.5) / size).astype(np.float32)


@functools.lru_cache(maxsize=64)
def _interpolation(cells: int, size: int) -> np.ndarray:
    """Smoothstep weights `[size, cells + 1]` from a lattice to pixels."""
    position = np.clip(_centers(size) * cells, 0, cells - 1e-4)
    low = position.astype(int)
    t = position - low
    t = t * t * (3 - 2 * t)
    weights = np.zeros((size, cells + 1), np.float32)
    weights[np.arange(size), low] = 1 - t
    weights[np.arange(size), low + 1] = t
    return weights


def _noise(
    rng: np.random.Generator, cells: int, size: int, channels: int
) -> np.ndarray:
    """Value noise in [-1, 1], `[channels, size, size]`; the lattice is the scene."""
    lattice = rng.uniform(-1, 1, (channels, cells + 1, cells + 1)).astype(np.float32)
    weights = _interpolation(cells, size)
    return weights @ lattice @ weights.T


def _background(rng: np.random.Generator, luma: float, size: int) -> np.ndarray:
    """A gradient under noise that varies over the picture, `[3, size, size]`.

    Channels come first while painting: broadcasting along a last axis of 3 is slow.
    """
    angle = rng.uniform(0, 2 * math.pi)
    axis = _centers(size) - 0.5
    across = math.cos(angle) * axis[:, None] + math.sin(angle) * axis
    ramp = _clip(0.5 + 1.4 * across)
    spread = rng.uniform(-0.1, 0.1)
    first, second = _color(rng, luma - spread, 0.3), _color(rng, luma + spread, 0.3)
    canvas = first + (second - first) * ramp
    coarse = _noise(rng, int(rng.integers(3, 6)), size, 3) * 0.1
    fine = _noise(rng, int(rng.integers(10, 18)), size, 1) * 0.07
    return canvas + coarse + fine


def _strokes(rng: np.random.Generator, canvas: np.ndarray, size: int) -> None:
    """Paints bent strokes behind the objects: clutter that has edges of its own."""
    axis = _centers(size)
    for _ in range(int(rng.integers(1, 4))):
        x0, y0, angle, bend = rng.random(4).tolist()
        length, width = rng.uniform(0.08, 0.45), rng.uniform(0.008, 0.028)
        color = _color(rng, rng.uniform(0.1, 0.9), 0.4)
        opacity = rng.uniform(0.2, 0.5)
        ux, uy = math.cos(2 * math.pi * angle), math.sin(2 * math.pi * angle)
        reach = length + width + 2 / size
        rows, columns = (_window(c, reach, size) for c in (y0, x0))
        dx, dy = axis[columns] - np.float32(x0), axis[rows, None] - np.float32(y0)
        along = dx * ux + dy * uy
        t = np.minimum(np.maximum(along, -length), length)
        across = dy * ux - dx * uy - (bend - 0.5) * 3 * (length**2 - t * t)
        distance = np.sqrt((along - t) ** 2 + across * across) - width
        cover = _clip(0.5 - distance * size)
        patch = canvas[:, rows, columns]
        patch += (color - patch) * (cover * opacity)


def _window(center: float, reach: float, size: int) -> slice:
    return slice(
        max(0, int((center - reach) * size)),
        min(size, int(math.ceil((center + reach) * size)) + 1),
    )


def _places(rng: np.random.Generator) -> list[tuple[float, float, float]]:
    """(x, y, radius) of discs inside the picture that do not touch."""
    wanted = int(rng.integers(_OBJECTS[0], _OBJECTS[1] + 1))
    places: list[tuple[float, float, float]] = []
    for _ in range(120):
        radius = rng.uniform(*_RADIUS)
        x, y = rng.uniform(radius + 0.01, 0.99 - radius, 2).tolist()
        if all(math.hypot(x - a, y - b) >= radius + r + 0.01 for a, b, r in places):
            places.append((x, y, radius))
        if len(places) == wanted:
            break
    return places


def _crowd(rng: np.random.Generator) -> list[tuple[float, float, float]]:
    """(x, y, radius) of discs that may overlap and leave the picture."""
    wanted = int(rng.integers(1, _MOST + 1))
    places: list[tuple[float, float, float]] = []
    for _ in range(60):
        radius = rng.uniform(*_SIZES)
        x, y = rng.uniform(0.03, 0.97, 2).tolist()
        if all(math.hypot(x - a, y - b) >= 0.75 * (radius + r) for a, b, r in places):
            places.append((x, y, radius))
        if len(places) == wanted:
            break
    return places


def _object(
    rng: np.random.Generator,
    canvas: np.ndarray,
    outline: Outline,
    place: tuple[float, float, float],
    luma: float,
    size: int,
) -> Cut:
    """Paints one object; returns (rows, columns, coverage)."""
    center_x, center_y, radius = place
    turn = rng.uniform(-_TURN, _TURN)
    stretch = rng.uniform(0.8, 1)  # squeezes one axis: stays inside its disc
    rows, columns = (_window(c, radius, size) for c in (center_y, center_x))
    axis = _centers(size)
    dx = (axis[columns] - np.float32(center_x)) / radius
    dy = (axis[rows, None] - np.float32(center_y)) / radius
    cos, sin = math.cos(turn), math.sin(turn)
    x = (cos * dx + sin * dy).astype(np.float32)
    y = ((cos * dy - sin * dx) / stretch).astype(np.float32)
    distance = outline(x, y)
    pixels = size * radius  # per local unit
    cover = _clip(0.5 - distance * pixels)
    # Brightness at least 0.3 from the background's, or the outline would dissolve.
    sides = [s for s in (-1, 1) if 0 <= luma + s * 0.42 <= 1] or [1 - 2 * (luma > 0.5)]
    side = sides[int(rng.integers(len(sides)))]
    base = luma + side * rng.uniform(0.34, 0.5)
    first, second = _color(rng, base, 0.4), _color(rng, base + side * 0.16, 0.4)
    ink = first + (second - first) * _texture(rng, x, y, pixels)
    if rng.random() < 0.3:  # a rim, darker or lighter than the filling
        rim = _clip(1 + (distance + 0.14) * pixels * 0.7)
        ink = ink + (_color(rng, base + side * 0.25, 0.3) - ink) * rim
    patch = canvas[:, rows, columns]
    patch += (ink - patch) * cover
    return rows, columns, cover


def _texture(
    rng: np.random.Generator, x: np.ndarray, y: np.ndarray, pixels: float
) -> np.ndarray:
    """A mixing weight in [0, 1] per pixel, in the object's own coordinates."""
    kind = int(rng.integers(_TEXTURES))
    turn, phase = rng.uniform(0, 2 * math.pi, 2).tolist()
    waves = rng.uniform(4.5, 9)  # radians per local unit
    u = math.cos(turn) * x + math.sin(turn) * y
    v = math.cos(turn) * y - math.sin(turn) * x
    sharp = pixels / waves  # one pixel of transition
    if kind == 0:
        weight = np.zeros_like(x)
    elif kind == 1:
        weight = 0.5 + 0.7 * u
    elif kind == 2:
        weight = 0.5 + sharp * np.sin(waves * u + phase)
    elif kind == 3:
        weight = 0.5 + sharp * np.sin(waves * u + phase) * np.sin(waves * v)
    elif kind == 4:
        dots = np.sin(waves * u + phase) * np.sin(waves * v) - 0.4
        weight = 0.5 + sharp * dots
    else:
        a, b, c, d = rng.uniform(3, 6, 4).tolist()
        weight = 0.5 + 0.6 * (
            np.sin(a * u + 2 * np.sin(b * v + phase))
            * np.sin(c * v + 2 * np.sin(d * u + turn))
        )
    return _clip(weight)
