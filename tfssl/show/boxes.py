"""Draws boxes into pictures: what is there, and what a detector found."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image, ImageDraw

from tfssl.errors import printable

SURE = 0.3
"""Detections from this score on are drawn."""

SIDE = 224
"""Pixels of a picture's longer side."""


def drawn(
    image: np.ndarray,
    boxes: np.ndarray,
    classes: Iterable[int],
    names: Sequence[str],
    scores: Sequence[float] | np.ndarray = (),
) -> np.ndarray:
    """Draws boxes, coloured and named by their class.

    Args:
      image: uint8 `[h, w, 3]`.
      boxes: `[n, 4]`: y0, x0, y1, x1 in pixels of the image.
      classes: One a box.
      names: Of the classes.
      scores: One a box, written behind the name; below `SURE` it is not drawn. Empty:
        all are, without.

    Returns:
      uint8, the image with its longer side `SIDE`.
    """
    factor = SIDE / max(image.shape[:2])
    height, width = (max(1, round(side * factor)) for side in image.shape[:2])
    picture = Image.fromarray(image).resize((width, height))
    pen = ImageDraw.Draw(picture)
    known = scores if len(scores) else [1.0] * len(boxes)
    for box, label, score in zip(boxes, classes, known, strict=True):
        if score < SURE:
            continue
        y0, x0, y1, x1 = (float(side) * factor for side in box)
        # The last pixel belongs to the box; the smallest box is a pixel.
        x0, y0 = min(max(x0, 0), width - 1), min(max(y0, 0), height - 1)
        corners = (x0, y0, min(max(x1 - 1, x0), width), min(max(y1 - 1, y0), height))
        hue = (int(label) * 0.618034) % 1.0  # neighbours are far apart
        red, green, blue = (int(255 * c) for c in colorsys.hsv_to_rgb(hue, 0.9, 1.0))
        text = printable(names[int(label)]) + (f" {score:.2f}" if len(scores) else "")
        pen.rectangle(corners, outline=(red, green, blue), width=2)
        ascii_only = text.encode("ascii", "replace").decode()
        pen.text((x0 + 3, y0 + 1), ascii_only, fill=(red, green, blue))
    return np.asarray(picture)
