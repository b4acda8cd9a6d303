"""Small image files, good and hostile, for tests of data."""

import io

import numpy as np
import tensorflow as tf
from PIL import Image


def picture(number, height=12, width=10):
    rng = np.random.default_rng(number)
    return rng.integers(0, 256, (height, width, 3), np.uint8)


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **options)
    return buffer.getvalue()


def tree(root, classes, per_class, prefix="", size=(12, 10)):
    for label, name in enumerate(classes):
        folder = root / prefix / name
        folder.mkdir(parents=True)
        for number in range(per_class):
            pixels = picture(label * 1000 + number, *size)
            (folder / f"{number:03}.png").write_bytes(encoded(pixels, "PNG"))


def hostile(root):
    """Files that decode, and files that do not; returns the two lists of names."""
    rgb = picture(1, 20, 16)
    jpeg = encoded(rgb, "JPEG")
    cmyk = io.BytesIO()
    Image.fromarray(rgb).convert("CMYK").save(cmyk, "JPEG")
    rgba = np.concatenate([rgb, rgb[..., :1]], -1)
    animation = io.BytesIO()
    frames = [Image.fromarray(picture(n, 20, 16)) for n in range(3)]
    frames[0].save(animation, "GIF", save_all=True, append_images=frames[1:])
    deep = tf.io.encode_png(tf.cast(rgb, tf.uint16) * 257).numpy()
    good = {
        "plain.jpg": jpeg,
        "one_pixel.png": encoded(rgb[:1, :1], "PNG"),
        "cmyk.jpg": cmyk.getvalue(),
        "rgba.png": encoded(rgba, "PNG"),
        "grey.jpeg": encoded(rgb[..., 0], "JPEG"),
        "sixteen_bit.png": deep,
        "animated.gif": animation.getvalue(),
        "bitmap.bmp": encoded(rgb, "BMP"),
    }
    bad = {
        "truncated.jpg": jpeg[: len(jpeg) // 3],
        "empty.jpg": b"",
        "text.jpg": b"this is no picture\n" * 20,
        "cut.png": encoded(rgb, "PNG")[:40],
    }
    root.mkdir(parents=True, exist_ok=True)
    for name, data in {**good, **bad}.items():
        (root / name).write_bytes(data)
    return sorted(good), sorted(bad)
