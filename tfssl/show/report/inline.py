"""Pictures inside the page: bytes as `data:` addresses, no request needed."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import numpy as np

from tfssl.show.report import figures


def data_uri(content: bytes, kind: str = "image/png") -> str:
    """The bytes as an address that needs no request."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def both_themes(draw: Callable[[figures.Theme], bytes], alt: str) -> dict[str, Any]:
    """One drawing for a light and a dark page, with its size there."""
    light, dark = draw(figures.LIGHT), draw(figures.DARK)
    # Width and height of a PNG are the two numbers after its 16 first bytes.
    width, height = (int.from_bytes(light[i : i + 4], "big") // 2 for i in (16, 20))
    return {
        "light": data_uri(light),
        "dark": data_uri(dark),
        "width": width,
        "height": height,
        "alt": alt,
    }


def picture_tile(image: np.ndarray, alt: str) -> dict[str, Any]:
    """A small picture, with its description and its side in pixels."""
    return {"uri": data_uri(*figures.tile(image)), "alt": alt, "side": len(image)}
