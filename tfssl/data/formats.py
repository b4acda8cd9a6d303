"""Formats of image files, told by their bytes and never by their extension.

One table says what a file is; the graph of `decode` and the messages for people read it
alike. Formats that no decoder here takes are named, so that forty AVIF files called
`.jpg` are forty AVIF files in the message. What TensorFlow decodes wrongly, and Pillow
rightly, is decoded by Pillow.
"""

from __future__ import annotations

import io
import warnings
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

MAX_PIXELS = 100_000_000
HEAD = 64
"""First bytes of a file, which tell its format."""

DECODED = ("JPEG", "PNG", "WebP", "GIF", "BMP")


class Magic(NamedTuple):
    """Bytes at fixed places that tell a format; of several the first row counts."""

    name: str
    bytes_at: dict[int, bytes]


MAGIC = (
    Magic("JPEG", {0: b"\xff\xd8\xff"}),
    Magic("PNG", {0: b"\x89PNG\r\n\x1a\n", 12: b"IHDR"}),
    Magic("GIF", {0: b"GIF87a"}),
    Magic("GIF", {0: b"GIF89a"}),
    Magic("WebP", {0: b"RIFF", 8: b"WEBP"}),
    Magic("BMP", {0: b"BM", 15: b"\0\0\0"}),
    Magic("an AVIF image", {4: b"ftypavif"}),
    Magic("an AVIF image", {4: b"ftypavis"}),
    *(
        Magic("a HEIC image", {4: b"ftyp" + brand})
        for brand in (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
    ),
    Magic("a film (MP4 or QuickTime)", {4: b"ftyp"}),
    Magic("a film (AVI)", {0: b"RIFF", 8: b"AVI "}),
    Magic("a film (Matroska or WebM)", {0: b"\x1aE\xdf\xa3"}),
    Magic("a TIFF image", {0: b"II*\0"}),
    Magic("a TIFF image", {0: b"MM\0*"}),
    Magic("a TIFF image", {0: b"II+\0"}),
    Magic("a TIFF image", {0: b"MM\0+"}),
    Magic("a JPEG 2000 image", {4: b"jP  \r\n\x87\n"}),
    Magic("a JPEG 2000 image", {0: b"\xff\x4f\xff\x51"}),
    Magic("a JPEG XL image", {4: b"JXL \r\n\x87\n"}),
    Magic("a JPEG XL image", {0: b"\xff\x0a"}),
    Magic("a Photoshop image", {0: b"8BPS"}),
    Magic("a Windows icon", {0: b"\0\0\1\0"}),
    Magic("a Windows icon", {0: b"\0\0\2\0"}),
    Magic("an OpenEXR image", {0: b"v/1\1"}),
    Magic("a QOI image", {0: b"qoif"}),
    Magic("a DDS image", {0: b"DDS "}),
    Magic("a FITS image", {0: b"SIMPLE  ="}),
    *(Magic("a Netpbm image", {0: b"P%d" % n, 2: b"\n"}) for n in range(1, 8)),
    Magic("a NumPy array", {0: b"\x93NUMPY"}),
    Magic("an SVG drawing", {0: b"<svg"}),
    Magic("an SVG drawing", {0: b"<?xml"}),
    *(
        Magic("an HTML page", {0: text})
        for text in (b"<!DOCTYPE", b"<!doctype", b"<html", b"<HTML", b"<head")
    ),
    Magic("a PDF document", {0: b"%PDF"}),
    Magic("PostScript", {0: b"%!PS"}),
    Magic("an archive (zip)", {0: b"PK\3\4"}),
    Magic("an archive (gzip)", {0: b"\x1f\x8b"}),
    Magic("a Git LFS pointer and not the file; git lfs pull", {0: b"version https://g"}),
    Magic("a macOS resource fork (._NAME)", {0: b"\0\5\x16\7"}),
    Magic("zeros only", {0: bytes(HEAD)}),
)  # fmt: skip


def format_of(data: bytes) -> str:
    """The format's name, of `MAGIC`; "" where the bytes are of none of them."""
    for name, bytes_at in MAGIC:
        if all(data[at : at + len(b)] == b for at, b in bytes_at.items()):
            return name
    return ""


def odd_jpeg(data: bytes) -> str:
    """Names the kind of JPEG that no decoder here takes (ITU T.81, table B.1).

    Args:
      data: The bytes of a file that was refused.

    Returns:
      Such as `"is a JPEG of 12 bits a channel"`; "" for any other file.
    """
    if format_of(data) != "JPEG":
        return ""
    place = 2
    while data[place : place + 1] == b"\xff" and place + 4 < len(data):
        mark = data[place + 1]
        if mark == 0xFF:  # filling
            place += 1
        elif mark in _FRAMES:
            bits = data[place + 4]
            return _FRAMES[mark] or f"is a JPEG of {bits} bits a channel" * (bits != 8)
        elif mark == 0xDA:
            break
        else:
            place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return ""


_FRAMES = dict.fromkeys((0xC0, 0xC1, 0xC2), "")
_FRAMES |= dict.fromkeys((0xC3, 0xC7, 0xCB, 0xCF), "is a lossless JPEG")
_FRAMES |= dict.fromkeys((0xC5, 0xC6, 0xCD, 0xCE), "is a hierarchical JPEG")
_FRAMES |= dict.fromkeys((0xC9, 0xCA), "is a JPEG with arithmetic coding")
_FRAMES |= {0xF7: "is a JPEG-LS image"}
"""Marks of a JPEG's frame, and why it is not read; "" where it is usual."""


def by_pillow(data: bytes, max_pixels: int) -> np.ndarray:
    """Decodes BMP and GIF, of which TensorFlow decodes some kinds wrongly.

    Palettes, runs, 16 bits and bit fields of BMP; a GIF whose first frame does not fill
    its screen. Alpha is dropped; of an animation the first frame is taken.

    Args:
      data: The file's bytes.
      max_pixels: Most pixels that may be decoded.

    Returns:
      uint8 `[h, w, 3]`.

    Raises:
      ValueError: The bytes are no such image, damaged, or declare too much.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(data), formats=("BMP", "GIF", "WEBP")) as image:
                if image.width * image.height > max_pixels:
                    raise ValueError(f"{image.width} x {image.height} pixels")
                size = image.size
                pixels = image.convert("RGB").tobytes()
        except (
            OSError, SyntaxError, EOFError, LookupError, TypeError, MemoryError,
            OverflowError, NotImplementedError, Image.DecompressionBombError,
        ) as error:  # fmt: skip
            if isinstance(error, UnidentifiedImageError):  # its text names an object
                raise ValueError("of a kind that Pillow does not know") from error
            raise ValueError(f"{error or type(error).__name__}") from error
    return np.frombuffer(pixels, np.uint8).reshape(size[1], size[0], 3)
