"""The ten outlines of the `shapes` data set, as signed distances.

Every function maps local coordinates (the shape lies inside the unit circle, `y`
points down) to a distance that is negative inside, 0 on the outline and positive
outside. Where a shape is a cut of two shapes the value is a bound of the distance,
exact on the outline, which is all that an anti-aliased edge needs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Outline = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _mirrored(*corners: tuple[float, float]) -> Outline:
    """A polygon symmetric about the y axis, given by its right half.

    The half runs from a point on the axis to another point on the axis. A ray to the
    right never meets the axis, so parity needs no closing edge.
    """
    points = np.array(corners, np.float32)[..., None, None]
    ax, ay = points[:-1].swapaxes(0, 1)
    ex, ey = (points[1:] - points[:-1]).swapaxes(0, 1)
    length2 = ex * ex + ey * ey
    slope = ex / np.where(ey == 0, 1, ey)  # a level edge is never crossed

    def distance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        dx, dy = np.abs(x) - ax, y - ay  # [edges, rows, columns]
        t = np.minimum(np.maximum((dx * ex + dy * ey) / length2, 0), 1)
        nearest = ((dx - ex * t) ** 2 + (dy - ey * t) ** 2).min(0)
        crosses = ((dy >= 0) != (dy >= ey)) & (dx < dy * slope)
        inside = np.logical_xor.reduce(crosses, 0)
        return np.where(inside, np.float32(-1), np.float32(1)) * np.sqrt(nearest)

    return distance


def _star() -> Outline:
    angles = np.arange(6) * np.pi / 5
    radii = np.where(np.arange(6) % 2, 0.42, 1.0)
    x, y = radii * np.sin(angles), -radii * np.cos(angles)
    return _mirrored(*zip(x, y, strict=True))


def _disk(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.hypot(x, y) - np.float32(0.85)


def _ring(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.abs(np.hypot(x, y) - np.float32(0.7)) - np.float32(0.22)


def _crescent(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    outer = np.hypot(x + np.float32(0.1), y) - np.float32(0.9)
    return np.maximum(outer, np.float32(0.72) - np.hypot(x - np.float32(0.4), y))


def _heart(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Two discs of radius 1/2 on the upper sides of a unit square on its corner."""
    a, b = np.float32(0.95), np.float32(0.5**0.5)
    x, y = np.abs(x) / a, np.float32(0.19) - y / a
    square = np.maximum(np.abs((x + y) * b), np.abs((x - y) * b)) - np.float32(0.5)
    lobe = np.hypot(x - b / 2, y - b / 2) - np.float32(0.5)
    return np.minimum(square, lobe) * a


OUTLINES: dict[str, Outline] = {
    "disk": _disk,
    "ring": _ring,
    "crescent": _crescent,
    "heart": _heart,
    "triangle": _mirrored((0, -1), (0.866, 0.5), (0, 0.5)),
    "square": _mirrored((0, -0.68), (0.68, -0.68), (0.68, 0.68), (0, 0.68)),
    "star": _star(),
    "cross": _mirrored(
        (0, -0.93),
        (0.25, -0.93),
        (0.25, -0.25),
        (0.93, -0.25),
        (0.93, 0.25),
        (0.25, 0.25),
        (0.25, 0.93),
        (0, 0.93),
    ),
    "arrow": _mirrored((0, -1), (0.8, -0.1), (0.28, -0.1), (0.28, 0.95), (0, 0.95)),
    "hourglass": _mirrored((0, -0.8), (0.6, -0.8), (0.1, 0), (0.6, 0.8), (0, 0.8)),
}
CLASS_NAMES: tuple[str, ...] = tuple(OUTLINES)
