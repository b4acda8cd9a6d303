"""Small image files of every format and feature, made with Pillow or byte by byte.

`gallery()` is what the tests of decoding and the fuzzer begin from: what a folder of
real pictures may hold, each file with what should come of it.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import NamedTuple

import numpy as np
from PIL import Image

SIZE = (37, 53)  # height and width


class Case(NamedTuple):
    """A file, and what is right.

    Attributes:
      data: The file's bytes.
      served: Whether the exported model decodes it; else only training does.
      refused: A part of the reason why nothing decodes it; "" where it is decoded.
      exact: Whether the pixels are Pillow's to the bit (JPEG decoders differ by a few).
    """

    data: bytes
    served: bool = True
    refused: str = ""
    exact: bool = True


def smooth(height=SIZE[0], width=SIZE[1], channels=3, seed=0):
    """A picture that JPEG keeps: slow waves, uint8 `[height, width, channels]`."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / 20.0
    waves = [
        np.sin(a * y + b * x + c) for a, b, c in rng.uniform(0.3, 1.5, (channels, 3))
    ]
    return np.stack([127 + 120 * wave for wave in waves], -1).astype(np.uint8)


def saved(image, kind, **options):
    """The bytes of an image as Pillow writes them."""
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image.squeeze())
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def exif(orientation, endian="<"):
    """An EXIF block that says nothing but an orientation."""
    order = b"II" if endian == "<" else b"MM"
    return (
        b"Exif\0\0"
        + order
        + struct.pack(f"{endian}HIHHHIHHI", 42, 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    )


def chunk(kind, content):
    """A PNG chunk."""
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def png(rows, width, height, depth, colour, *, interlace=0, before=b"", after=b""):
    """A PNG of filtered rows."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + before
        + chunk(b"IDAT", zlib.compress(rows)) + after + chunk(b"IEND", b"")
    )  # fmt: skip


def png_header(width, height):
    """A PNG of a few bytes that declares any size."""
    return png(b"\0" * 64, width, height, 8, 2)


def jpeg_header(width, height):
    """A real JPEG whose frame header declares another size."""
    data = bytearray(saved(Image.new("RGB", (8, 8)), "JPEG"))
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def interlaced_png(image):
    """An Adam7 PNG of an RGB image."""
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2),
              (0, 1, 2, 2), (1, 0, 2, 1))  # fmt: skip
    rows = b""
    for y, x, down, right in passes:
        part = image[y::down, x::right]
        if part.size:
            rows += b"".join(b"\0" + row.tobytes() for row in part)
    height, width = image.shape[:2]
    return png(rows, width, height, 8, 2, interlace=1)


def bmp(pixels, width, height, bits, *, compression=0, palette=b"", masks=b"",
        header=40, used=0):  # fmt: skip
    """A BMP of rows as they are stored."""
    if header == 12:
        info = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        info = struct.pack(
            "<IiiHHIIiiII", header, width, height, 1, bits, compression, len(pixels),
            2835, 2835, used, 0,
        )  # fmt: skip
        info += masks + bytes(max(0, header - 40 - len(masks)))
    start = 14 + len(info) + len(palette)
    return (
        b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start)
        + info + palette + pixels
    )  # fmt: skip


def _bitmaps():
    height, width = SIZE
    rgb = smooth()
    pad = -(3 * width) % 4
    bottom_up = b"".join(row.tobytes() + bytes(pad) for row in rgb[::-1, :, ::-1])
    top_down = b"".join(row.tobytes() + bytes(pad) for row in rgb[:, :, ::-1])
    four = np.concatenate(
        [rgb[::-1, :, ::-1], np.full((height, width, 1), 7, np.uint8)], -1
    )
    five = [rgb[::-1, :, c].astype(np.uint16) >> 3 for c in range(3)]
    words = (five[0] << 10 | five[1] << 5 | five[2]).astype("<u2")
    words = np.pad(words, ((0, 0), (0, width % 2)))
    six = rgb[::-1, :, 1].astype(np.uint16) >> 2
    words6 = (five[0] << 11 | six << 5 | five[2]).astype("<u2")
    words6 = np.pad(words6, ((0, 0), (0, width % 2)))
    index = rgb[::-1, :, 0] // 16
    rows8 = np.pad(index, ((0, 0), (0, -width % 4))).tobytes()
    even = np.pad(index, ((0, 0), (0, -width % 8)))
    rows4 = (even[:, ::2] << 4 | even[:, 1::2]).tobytes()
    colours = b"".join(bytes((17 * i, 255 - 9 * i, 40, 0)) for i in range(16))
    runs = (
        b"".join(
            b"".join(bytes((1, value)) for value in row.tolist()) + b"\0\0"
            for row in index
        )
        + b"\0\1"
    )
    grey = saved(Image.fromarray(rgb[..., 0]), "BMP")
    return {
        "bmp 24": Case(bmp(bottom_up, width, height, 24)),
        "bmp 24 top down": Case(bmp(top_down, width, -height, 24)),
        "bmp 24 core": Case(bmp(bottom_up, width, height, 24, header=12), False),
        "bmp 24 v5": Case(bmp(bottom_up, width, height, 24, header=124)),
        "bmp 24 trailer": Case(bmp(bottom_up, width, height, 24) + b"\0" * 99),
        "bmp 32": Case(bmp(four.tobytes(), width, height, 32)),
        "bmp 32 fields": Case(
            bmp(four.tobytes(), width, height, 32, compression=3,
                masks=struct.pack("<III", 0xFF0000, 0xFF00, 0xFF), header=56), False),
        "bmp 32 other fields": Case(
            bmp(four[..., [2, 1, 0, 3]].tobytes(), width, height, 32, compression=3,
                masks=struct.pack("<III", 0xFF, 0xFF00, 0xFF0000), header=56),
            refused="not decodable"),
        "bmp 16": Case(bmp(words.tobytes(), width, height, 16), False),
        "bmp 565": Case(
            bmp(words6.tobytes(), width, height, 16, compression=3,
                masks=struct.pack("<III", 0xF800, 0x7E0, 0x1F)), False),
        "bmp 8 palette": Case(
            bmp(rows8, width, height, 8, palette=colours, used=16), False),
        "bmp 8 grey": Case(grey),
        "bmp 4": Case(bmp(rows4, width, height, 4, palette=colours, used=16), False),
        "bmp 1": Case(saved(Image.fromarray(rgb[..., 0] > 127), "BMP"), False),
        "bmp rle8": Case(
            bmp(runs, width, height, 8, compression=1, palette=colours, used=16),
            False),
        "bmp cut": Case(bmp(bottom_up, width, height, 24)[:900], refused="truncated"),
    }  # fmt: skip


def _jpegs():
    rgb = smooth()
    picture = Image.fromarray(rgb)
    plain = saved(rgb, "JPEG", quality=92)
    thumbnail = saved(smooth(12, 16), "JPEG")
    with_thumbnail = exif(1)[:-4] + struct.pack("<I", 26) + thumbnail
    scans = plain.index(b"\xff\xda")
    four = bytearray(saved(picture.convert("CMYK"), "JPEG", quality=95))
    four[four.index(b"Adobe") + 11] = 2  # luma, two chromas and black
    lossless = plain.replace(b"\xff\xc0", b"\xff\xc3", 1)
    twelve = bytearray(plain)
    twelve[plain.index(b"\xff\xc0") + 4] = 12
    cases = {
        "jpeg": Case(plain),
        "jpeg 444": Case(saved(rgb, "JPEG", subsampling=0, quality=92)),
        "jpeg 420": Case(saved(rgb, "JPEG", subsampling=2, quality=92)),
        "jpeg grey": Case(saved(rgb[..., 0], "JPEG")),
        "jpeg cmyk": Case(saved(picture.convert("CMYK"), "JPEG", quality=95)),
        "jpeg rgb": Case(saved(rgb, "JPEG", keep_rgb=True)),
        "jpeg progressive": Case(saved(rgb, "JPEG", progressive=True)),
        "jpeg restart": Case(saved(rgb, "JPEG", restart_marker_rows=1)),
        "jpeg profile": Case(saved(rgb, "JPEG", icc_profile=bytes(70_000))),
        "jpeg comment": Case(saved(rgb, "JPEG", comment=b"\xff\xda\xff\xd9")),
        "jpeg thumbnail": Case(saved(rgb, "JPEG", exif=with_thumbnail)),
        "jpeg zeros behind": Case(plain + bytes(64)),
        "jpeg line behind": Case(plain + b"\n"),
        "jpeg film behind": Case(plain + b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 9),
        "jpeg picture behind": Case(plain + saved(smooth(20, 20, seed=5), "JPEG")),
        "jpeg cut": Case(
            plain[: scans + (len(plain) - scans) // 2], refused="not decodable"),
        "jpeg cut behind a thumbnail": Case(
            (whole := saved(rgb, "JPEG", exif=with_thumbnail))[: len(whole) - 60],
            refused="not decodable"),
        "jpeg ycck": Case(bytes(four)),
        "jpeg lossless": Case(lossless, refused="lossless"),
        "jpeg 12 bits": Case(bytes(twelve), refused="12 bits"),
        "jpeg header only": Case(plain[:scans], refused="not decodable"),
    }  # fmt: skip
    for way in range(1, 9):
        endian = "<>"[way % 2]
        data = saved(rgb, "JPEG", exif=exif(way, endian), quality=92)
        cases[f"jpeg turned {way}"] = Case(data)
    return {name: case._replace(exact=False) for name, case in cases.items()}


def _pngs():
    height, width = SIZE
    rgb, deep = smooth(), smooth().astype(">u2") * 257
    picture = Image.fromarray(rgb)
    rgba = np.concatenate([rgb, smooth(channels=1, seed=3)], -1)
    rows = b"".join(b"\0" + row.tobytes() for row in deep)
    twelve = b"".join(b"\0" + row.tobytes() for row in (deep >> 4).astype(">u2"))
    plain = saved(rgb, "PNG")
    palette = picture.quantize(64)
    frames = [Image.fromarray(smooth(seed=n)) for n in range(3)]
    late = b"".join(b"\0" + row.tobytes() for row in np.asarray(palette, np.uint8))
    colours = bytes(palette.getpalette()[: 64 * 3])
    return {
        "png": Case(plain),
        "png grey": Case(saved(rgb[..., 0], "PNG")),
        "png 1 bit": Case(saved(Image.fromarray(rgb[..., 0] > 127), "PNG")),
        "png grey alpha": Case(saved(Image.fromarray(rgba[..., [0, 3]], "LA"), "PNG")),
        "png alpha": Case(saved(rgba, "PNG")),
        "png palette": Case(saved(palette, "PNG")),
        "png palette 4 bits": Case(saved(picture.quantize(16), "PNG", bits=4)),
        "png palette transparent": Case(saved(palette, "PNG", transparency=3)),
        "png transparent colour": Case(saved(rgb, "PNG", transparency=(1, 2, 3))),
        "png 16 bits": Case(png(rows, width, height, 16, 2)),
        "png 12 in 16 bits": Case(png(twelve, width, height, 16, 2)),
        "png 16 bits alpha": Case(
            png(b"".join(b"\0" + row.tobytes()
                         for row in np.concatenate([deep, deep[..., :1]], -1)),
                width, height, 16, 6)),
        "png grey transparent colour": Case(
            saved(rgb[..., 0], "PNG", transparency=40)),
        "png 16 bits grey": Case(
            png(b"".join(b"\0" + row.tobytes() for row in deep[..., 0]),
                width, height, 16, 0)),
        "png interlaced": Case(interlaced_png(rgb)),
        "png animated": Case(
            saved(frames[0], "PNG", save_all=True, append_images=frames[1:])),
        "png exif": Case(saved(rgb, "PNG", exif=exif(6)[6:])),
        "png trailer": Case(plain + b"\0" * 77),
        "png text": Case(
            png(b"".join(b"\0" + row.tobytes() for row in rgb), width, height, 8, 2,
                before=chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**7))))),
        "png palette behind": Case(
            png(late, width, height, 8, 3, after=chunk(b"PLTE", colours)),
            refused="not decodable"),
        "png cut": Case(plain[: len(plain) // 2], refused="not decodable"),
        "png damaged": Case(
            plain[: len(plain) // 2] + bytes(40) + plain[len(plain) // 2 + 40 :],
            refused="not decodable"),
    }  # fmt: skip


def _gifs():
    frames = [Image.fromarray(smooth(seed=n)).quantize(32) for n in range(4)]
    plain = saved(frames[0], "GIF")
    moving = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    part = frames[0].crop((5, 4, 30, 20))
    small = bytearray(saved(part, "GIF"))
    small[6:10] = struct.pack("<HH", SIZE[1], SIZE[0])
    return {
        "gif": Case(plain),
        "gif interlaced": Case(saved(frames[0], "GIF", interlace=1)),
        "gif transparent": Case(saved(frames[0], "GIF", transparency=3)),
        "gif animated": Case(moving),
        "gif many frames": Case(
            saved(frames[0], "GIF", save_all=True, append_images=frames[1:] * 200)),
        "gif second frame cut": Case(moving[: len(moving) * 2 // 5]),
        "gif frame smaller": Case(bytes(small), False),
        "gif trailer": Case(plain + b"\0" * 33),
        "gif cut": Case(plain[: len(plain) // 2], refused="truncated"),
    }  # fmt: skip


def moving_in(still, place, canvas):
    """An animated WebP of one frame that does not fill its canvas."""

    def three(number):
        return struct.pack("<I", number)[:3]

    frame = b"".join(
        map(three, (place[0] // 2, place[1] // 2, SIZE[1] - 1, SIZE[0] - 1))
    )
    frame += bytes(4) + still[12:]
    parts = b"VP8X" + struct.pack("<II", 10, 2) + b"".join(three(n - 1) for n in canvas)
    parts += b"ANIM" + struct.pack("<I", 6) + bytes(6)
    parts += b"ANMF" + struct.pack("<I", len(frame)) + frame
    return b"RIFF" + struct.pack("<I", len(parts) + 4) + b"WEBP" + parts


def _webps():
    rgb = smooth()
    rgba = np.concatenate([rgb, smooth(channels=1, seed=3)], -1)
    frames = [Image.fromarray(smooth(seed=n)) for n in range(3)]
    alphas = [smooth(channels=1, seed=9 + n) for n in range(3)]
    clear = [
        Image.fromarray(np.concatenate([smooth(seed=n), alpha], -1))
        for n, alpha in enumerate(alphas)
    ]

    half = saved(frames[0], "WEBP", lossless=True)
    smaller = moving_in(half, (4, 6), (SIZE[1] + 20, SIZE[0] + 10))

    def moving(images, **options):
        return saved(
            images[0], "WEBP", save_all=True, append_images=images[1:], **options
        )

    plain = saved(rgb, "WEBP", lossless=True)
    return {
        "webp": Case(saved(rgb, "WEBP")),
        "webp lossless": Case(plain),
        "webp alpha": Case(saved(rgba, "WEBP")),
        "webp lossless alpha": Case(saved(rgba, "WEBP", lossless=True)),
        "webp profile": Case(saved(rgb, "WEBP", icc_profile=b"profile " * 20)),
        "webp exif": Case(saved(rgb, "WEBP", exif=exif(6)[6:])),
        "webp animated": Case(moving(frames)),
        "webp animated lossless": Case(moving(frames, lossless=True)),
        "webp animated alpha": Case(moving(clear)),
        "webp animated profile": Case(moving(frames, icc_profile=b"profile" * 9)),
        "webp animated smaller": Case(smaller),
        "webp trailer": Case(plain + bytes(32)),
        "webp cut": Case(plain[: len(plain) // 2], refused="not decodable"),
    }  # fmt: skip


def _others():
    picture = Image.fromarray(smooth())
    brand = b"\0\0\0\x1cftyp%b\0\0\0\0mif1heic" + bytes(200)
    return {
        "avif": Case(saved(picture, "AVIF"), refused="AVIF"),
        "heic": Case(brand % b"heic", refused="HEIC"),
        "tiff": Case(saved(picture, "TIFF"), refused="TIFF"),
        "jpeg 2000": Case(saved(picture, "JPEG2000"), refused="JPEG 2000"),
        "icon": Case(saved(picture, "ICO"), refused="icon"),
        "netpbm": Case(saved(picture, "PPM"), refused="Netpbm"),
        "photoshop": Case(b"8BPS\0\1" + bytes(300), refused="Photoshop"),
        "svg": Case(b'<svg xmlns="http://www.w3.org/2000/svg"/>', refused="SVG"),
        "page": Case(b"<!DOCTYPE html><html>404</html>", refused="HTML"),
        "pdf": Case(b"%PDF-1.7\n" + bytes(99), refused="PDF"),
        "film": Case(brand % b"isom", refused="film"),
        "pointer": Case(
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
            refused="Git LFS"),
        "zeros": Case(bytes(300), refused="zero"),
        "empty": Case(b"", refused="empty"),
        "text": Case(b"this is no picture\n" * 20, refused="no image"),
    }  # fmt: skip


def gallery() -> dict[str, Case]:
    """Every file by a name that says its format and feature."""
    return {**_jpegs(), **_pngs(), **_gifs(), **_bitmaps(), **_webps(), **_others()}
