"""Reads files of masks: one number a pixel, whatever a program wrote it as.

A mask is an image file whose pixels are numbers of classes. Grey values are numbers,
those of a palette are its places, black and white are 0 and 1. Of 16 bits the same; of
RGB the common value of the three channels, or the place of the colour in PASCAL VOC's
palette. Alpha is dropped. A JPEG is refused: its compression changes the numbers. Of
COCO's panoptic masks colours are ids of segments, whose classes the reader is told. No
TensorFlow.
"""

from __future__ import annotations

import dataclasses
import io
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from tfssl.augment.dense import IGNORED

KINDS = {
    "16 bit": "have 16 bits a pixel; numbers above 254 are ignored",
    "grey in RGB": "repeat their numbers in three channels",
    "colours": "hold the colours of VOC's palette, not numbers",
    "transparent": "have transparency, which is dropped",
}
"""What a mask may be, and what follows from it."""

_MODES = {"1", "L", "P", "LA", "PA", "RGB", "RGBA", "I", "I;16", "I;16B", "I;16L"}
_BORDER = (224, 224, 192)
"""Colour of VOC's pixels between objects, which belong to no class."""


@dataclasses.dataclass(frozen=True)
class Mask:
    """A mask as it was read.

    Attributes:
      numbers: uint8 `[h, w]`, `IGNORED` for what is above 254.
      kinds: Of `KINDS`.
      above: Pixels whose number is above 254, and neither 255 nor 65535; or whose id
        is that of no segment.
    """

    numbers: np.ndarray
    kinds: tuple[str, ...]
    above: int


def voc_palette() -> np.ndarray:
    """Returns the 256 colours that PASCAL VOC draws classes in, uint8 `[256, 3]`.

    Three bits of the class go to the highest bits of red, green and blue, the next
    three below them, and so on (VOC development kit, `VOClabelcolormap.m`).
    """
    classes = np.arange(256)
    table = np.zeros((256, 3), np.uint8)
    for place in range(8):
        for channel in range(3):
            bit = classes >> (3 * place + channel) & 1
            table[:, channel] |= (bit << (7 - place)).astype(np.uint8)
    return table


def read_mask(
    data: bytes, max_pixels: int = 0, segments: Mapping[int, int] | None = None
) -> Mask:
    """Reads a mask out of the bytes of its file.

    Args:
      data: The file.
      max_pixels: Most pixels that it may declare; 0: any number.
      segments: The class, or `IGNORED`, of each id that colours stand for; None:
        pixels are classes.

    Raises:
      ValueError: With the reason, where the bytes are no mask.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(data)) as image:
                return _read(image, _bits(image, data), max_pixels, segments)
        except ValueError:
            raise
        except Exception as error:  # whatever a library finds in a damaged file
            raise ValueError(f"not readable as a mask: {_said(error, data)}") from error


def _bits(image: Image.Image, data: bytes) -> int:
    """Bits of a grey pixel in the file, which Pillow stretches to 8; 8 of all others.

    Raises:
      ValueError: Numbers that Pillow does not give: the high halves of 16 bits, or
        their complements.
    """
    bits, channels = 8, 1
    if image.format == "PNG":
        bits, channels = data[24], {0: 1, 3: 1}.get(data[25], 2)
        bits = 8 if data[25] == 3 else bits  # a palette's places are not stretched
    elif image.format == "TIFF":
        tags: Any = getattr(image, "tag_v2", {})
        stored = tags.get(258, (1,))
        bits, channels = stored[0], len(stored)
        if tags.get(262) == 0 and bits > 1:
            raise ValueError("is a TIFF whose 0 is white: its numbers are turned about")
        bits = 8 if tags.get(262) == 3 else bits
    if bits > 8 and channels > 1:
        raise ValueError(f"has {bits} bits in several channels: save one, of 8 or 16")
    return bits


def _read(
    image: Image.Image,
    bits: int,
    max_pixels: int,
    segments: Mapping[int, int] | None,
) -> Mask:
    if image.format in ("JPEG", "MPO"):
        raise ValueError("is a JPEG, whose compression changes the numbers of classes")
    if max_pixels and image.width * image.height > max_pixels:
        raise ValueError(f"declares {image.width} x {image.height} pixels")
    if image.mode not in _MODES:
        raise ValueError(f"has pixels of the kind {image.mode}, no numbers")
    kinds = []
    if image.mode in ("LA", "PA", "RGBA"):
        kinds.append("transparent")
    if segments is not None:
        return _of_segments(image, tuple(kinds), segments)
    pixels = np.asarray(image)
    if image.mode in ("LA", "PA"):
        pixels = pixels[..., 0]
    elif pixels.ndim == 3:
        rgb = pixels[..., :3]
        if (rgb == rgb[..., :1]).all():
            pixels = rgb[..., 0]
            kinds.append("grey in RGB")
        else:
            pixels = _of_colours(rgb)
            kinds.append("colours")
    elif bits in (2, 4):
        pixels = pixels // (255 // (2**bits - 1))
    above = 0
    if pixels.dtype.itemsize > 1:
        kinds.append("16 bit")
        wide = pixels.astype(np.int64)
        beyond = (wide > IGNORED) | (wide < 0)
        above = int((beyond & (wide != 65535)).sum())
        pixels = np.where(beyond, IGNORED, wide)
    return Mask(np.ascontiguousarray(pixels, np.uint8), tuple(kinds), above)


def _of_segments(
    image: Image.Image, kinds: tuple[str, ...], segments: Mapping[int, int]
) -> Mask:
    """Classes of the segments whose ids are R + 256 G + 256**2 B; id 0 is none.

    Grey, as programs write it, is the id itself; as those that make files smaller
    leave it, each of the three channels.
    """
    paletted = image.mode in ("P", "PA")
    pixels = np.asarray(image.convert("RGB") if paletted else image).astype(np.int32)
    pixels = pixels[..., 0] if image.mode == "LA" else pixels
    grey = pixels.ndim == 2
    ids = pixels if grey else pixels[..., 0] + 256 * pixels[..., 1]
    ids = (ids if grey else ids + 65536 * pixels[..., 2]).ravel()
    # Segments are runs of equal pixels, of which there are far fewer than pixels.
    starts = np.flatnonzero(np.append(True, ids[1:] != ids[:-1]))
    lengths = np.diff(starts, append=len(ids))
    there, back = np.unique(ids[starts], return_inverse=True)
    there = [
        n if n in segments or not grey else n * (1 + 256 + 65536)
        for n in there.tolist()
    ]
    strange = np.array([bool(n) and n not in segments for n in there])
    classes = np.array([segments.get(n, IGNORED) for n in there], np.uint8)
    numbers = np.repeat(classes[back], lengths).reshape(pixels.shape[:2])
    return Mask(numbers, kinds, int(lengths[strange[back]].sum()))


def _of_colours(rgb: np.ndarray) -> np.ndarray:
    """Numbers of VOC's colours.

    Raises:
      ValueError: One is no colour of its palette.
    """

    def packed(colours: np.ndarray) -> np.ndarray:
        return colours.astype(np.int64) @ np.array([65536, 256, 1])

    known = np.append(packed(voc_palette()), packed(np.array(_BORDER)))
    order = np.argsort(known)
    wanted, back = np.unique(packed(rgb), return_inverse=True)
    place = np.minimum(np.searchsorted(known[order], wanted), len(known) - 1)
    found = order[place]
    if (strange := known[found] != wanted).any():
        first = tuple(int(wanted[strange][0]).to_bytes(3, "big"))
        raise ValueError(
            f"is RGB with colours such as {first} that are no numbers of classes: save "
            "places in a palette, or grey values"
        )
    numbers = np.minimum(found, IGNORED).astype(np.uint8)
    return numbers[back].reshape(rgb.shape[:2])


def header(data_or_path: str | bytes) -> tuple[int, int, int]:
    """Returns height, width and EXIF orientation (1 to 8) of an image file.

    Args:
      data_or_path: Its bytes, or where it is.

    Raises:
      ValueError: With the reason, where it is no image.
    """
    given: Any = data_or_path
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(
                io.BytesIO(given) if isinstance(given, bytes) else given
            ) as image:
                way = image.getexif().get(0x0112, 1)
                return image.height, image.width, way if way in range(1, 9) else 1
    except FileNotFoundError as error:
        raise ValueError("is not there") from error
    except Exception as error:  # whatever a library finds in a damaged file
        raise ValueError(f"not readable as an image: {_said(error)}") from error


def _said(error: Exception, data: bytes = b"some") -> str:
    if isinstance(error, UnidentifiedImageError):  # its text names an object
        return "of a kind that Pillow does not know" if data else "empty file"
    return str(error)[:120] or type(error).__name__


def as_png(numbers: np.ndarray) -> bytes:
    """Encodes uint8 `[h, w]` as a grey PNG, which any decoder reads exactly."""
    out = io.BytesIO()
    Image.fromarray(numbers).save(out, "PNG", compress_level=4)
    return out.getvalue()


def coloured(mask: np.ndarray) -> np.ndarray:
    """A mask `[...]` as a picture in VOC's colours, uint8 `[..., 3]`."""
    table = voc_palette()
    table[IGNORED] = _BORDER
    return table[mask]
