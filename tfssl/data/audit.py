"""Looks at every image of a source: what would spoil a training, before it begins."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import hashlib
import io
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from tfssl.data import upright
from tfssl.data.encoded import Encoded
from tfssl.data.similar import equal_groups, near_pairs
from tfssl.data.source import NO_LABEL, Source
from tfssl.errors import DataError, message, printable

KINDS = {
    "turned": "lie turned by their orientation in EXIF or XMP, ignored as in the "
    "official codes; orient=exif turns them upright everywhere",
    "alpha": "have transparency, which is dropped: what lies under it shows",
    "palette": "have a palette, whose colours are taken",
    "cmyk": "are CMYK, turned into RGB without a colour profile",
    "16 bit": "have 16 bits a channel, of which the upper 8 are used",
    "dark 16 bit": "hold 12 bits or fewer in 16 and so are nearly black: rescale them",
    "animated": "are animated: the first frame is used",
    "huge": "have more than 25 million pixels, which cost more to decode than to train",
    "grey": "are grey",
}
"""What an image may be, and the sentence that says what follows from it."""

HUGE = 25_000_000  # pixels
NAMED = 100
"""At most so many images are named for each finding."""
_BATCH = 64


@dataclasses.dataclass(frozen=True)
class Looked:
    """What was seen of one image.

    Attributes:
      name: Its path.
      problem: Why it is unreadable; "" if it is not.
      digest: SHA-256 of the file's bytes.
      picture: Perceptual hash, 64 bits; None without the library.
      side: Shorter side in pixels.
      kinds: Any of `KINDS`.
      mean: Of each channel, in [0, 1].
      square: Mean of the squares.
    """

    name: str
    problem: str = ""
    digest: bytes = b""
    picture: int | None = None
    side: int = 0
    kinds: tuple[str, ...] = ()
    mean: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(3))
    square: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(3))


def perceptual_hash() -> Callable[[np.ndarray], int] | None:
    """The function from pixels to 64 bits (pHash); None where ImageHash is missing."""
    try:
        import imagehash
    except ImportError:
        return None

    def picture(pixels: np.ndarray) -> int:
        bits = imagehash.phash(Image.fromarray(pixels)).hash
        return int.from_bytes(np.packbits(bits).tobytes(), "big")

    return picture


def look(
    source: Source, limit: int, on_progress: Callable[[int], Any] = lambda done: None
) -> list[Looked]:
    """Reads and decodes images, spread evenly over the source.

    Args:
      source: Any source, not decoded in memory.
      limit: Most images; 0: all.
      on_progress: Called with the number of images done.
    """
    total = source.num_examples
    count = min(total, limit or total)
    picture = perceptual_hash()
    found: list[Looked] = []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, count, _BATCH):
            part = range(start, min(start + _BATCH, count))
            found += pool.map(lambda i: _one(source, i * total // count, picture), part)
            on_progress(len(found))
    return found


def _one(
    source: Source, index: int, picture: Callable[[np.ndarray], int] | None
) -> Looked:
    encoded = isinstance(source, Encoded)
    name = printable(
        source.where(index) if encoded else f"{source.name} number {index}"
    )
    try:
        if encoded:
            data = source.read(index)
            pixels = source.decoded(tf.constant(data)).numpy()
        else:
            pixels = source.example(tf.constant(index, tf.int64))["image"].numpy()
            data = pixels.tobytes()
    except (OSError, ValueError, tf.errors.OpError):
        return Looked(name, source.failed(index).removeprefix(f"{name} (")[:-1])
    shares, level = _histogram(pixels), np.arange(256) / 255
    grey = bool((pixels == pixels[..., :1]).all())
    return Looked(
        name,
        digest=hashlib.sha256(data).digest(),
        picture=picture(pixels) if picture else None,
        side=min(pixels.shape[:2]),
        kinds=(*(_kinds(data) if encoded else []), *(["grey"] if grey else [])),
        mean=shares @ level,
        square=shares @ level**2,
    )


def _histogram(pixels: np.ndarray) -> np.ndarray:
    """Returns `[3, 256]`: which share of each channel has each value."""
    counts = np.zeros([3, 256])
    for rows in np.array_split(pixels.reshape(-1, 3), pixels.size // 2**20 + 1):
        counts += [np.bincount(channel, minlength=256) for channel in rows.T]
    return counts / (pixels.size // 3)


def _kinds(data: bytes) -> list[str]:
    """Peculiarities that the header tells; none where Pillow cannot read it."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            deep = image.mode.startswith("I") or (
                image.format == "PNG" and data[24:25] == b"\x10"
            )
            tests = {
                "turned": int(_orientation()(tf.constant(data))) > 1,
                "alpha": "A" in image.mode or "transparency" in image.info,
                "palette": image.mode == "P",
                "cmyk": image.mode == "CMYK",
                "16 bit": deep,
                "dark 16 bit": deep and data[:4] == b"\x89PNG" and _is_dark(data),
                "animated": getattr(image, "is_animated", False),
                "huge": image.width * image.height > HUGE,
            }
    except (
        OSError, ValueError, SyntaxError, tf.errors.OpError,
        Image.DecompressionBombError,
    ):  # fmt: skip
        return []
    return [kind for kind, holds in tests.items() if holds]


@functools.cache
def _orientation() -> Callable[[tf.Tensor], tf.Tensor]:
    """What `orient=exif` goes by, so that the doctor counts what it would turn."""
    spec = [tf.TensorSpec([], tf.string)]
    return tf.function(upright.orientation, input_signature=spec, autograph=False)


def _is_dark(data: bytes) -> bool:
    """Whether no value of a PNG of 16 bits uses the upper 4: a camera's 12 bits."""
    values = tf.io.decode_png(data, dtype=tf.uint16)
    return int(tf.reduce_max(tf.cast(values, tf.int32))) < 2**12


def summary(found: list[Looked], tiny: int) -> dict[str, Any]:
    """Counts and names of what may need attention.

    Args:
      found: See `look`.
      tiny: Images with a shorter side below this are called tiny.

    Returns:
      For JSON: `images`, and each finding as `count` and (the first) `names`.

    Raises:
      DataError: Nothing is readable.
    """
    good = [one for one in found if not one.problem]
    bad = [f"{one.name} ({one.problem})" for one in found if one.problem]
    if not good:
        raise DataError(
            message(
                f"{len(bad)} images, none of which can be read: {', '.join(bad[:3])}",
                "images",
                "converting them to JPEG or PNG, or another dataset or split",
            )
        )
    same = equal_groups(np.array([one.digest for one in good]))
    groups = [[good[i].name for i in group] for group in same]
    mean = np.mean([one.mean for one in good], 0)
    square = np.mean([one.square for one in good], 0)
    return {
        "images": len(found),
        "unreadable": _named(bad),
        "tiny": _named([one.name for one in good if one.side < tiny]),
        **{
            kind: _named([one.name for one in good if kind in one.kinds])
            for kind in KINDS
        },
        "exact duplicates": {
            "count": sum(len(group) - 1 for group in groups),
            "names": groups[:NAMED],
        },
        "near duplicates": near(good),
        "colour": {
            "mean": mean.round(4).tolist(),
            "std": np.sqrt(np.maximum(square - mean**2, 0)).round(4).tolist(),
        },
    }


def near(found: list[Looked]) -> dict[str, Any] | None:
    """Pairs of different files that show nearly the same; None without the library."""
    if any(one.picture is None for one in found):
        return None
    # One image for each content: equal files are counted elsewhere.
    distinct = list({one.digest: one for one in found}.values())
    hashes = np.array([one.picture for one in distinct], np.uint64)
    pairs = [
        [distinct[a].name, distinct[b].name]
        for group in equal_groups(hashes)
        for a, b in zip(group[:-1], group[1:], strict=True)
    ]
    values, first = np.unique(hashes, return_index=True)
    names = [distinct[place].name for place in first]
    pairs += [[names[a], names[b]] for a, b in near_pairs(values)]
    return {"count": len(pairs), "names": pairs[:NAMED]}


def leakage(train: list[Looked], held_out: list[Looked]) -> dict[str, Any]:
    """Held-out images that are training images too, exactly or nearly.

    Returns:
      `exact` and `near` (None without the library), each with `count` of held-out
      images and `names` of pairs.
    """
    train = [one for one in train if not one.problem]
    held_out = [one for one in held_out if not one.problem]
    digests = {one.digest: one.name for one in train}
    exact = [
        [one.name, digests[one.digest]] for one in held_out if one.digest in digests
    ]
    rest = [one for one in held_out if one.digest not in digests]
    if any(one.picture is None for one in train + rest):
        return {"exact": _named(exact), "near": None}
    ours = {one.picture: one.name for one in train}
    theirs = {one.picture for one in rest}
    values = np.array(sorted({*ours, *theirs}), np.uint64)
    partner = {picture: ours[picture] for picture in theirs & set(ours)}
    for a, b in near_pairs(values).tolist():
        for one, other in ((a, b), (b, a)):
            here, there = int(values[one]), int(values[other])
            if here in theirs and there in ours:
                partner.setdefault(here, ours[there])
    close = [[one.name, partner[one.picture]] for one in rest if one.picture in partner]
    return {"exact": _named(exact), "near": _named(close)}


def balance(source: Source) -> dict[str, Any] | None:
    """Images of the smallest, middle and largest class; None without labels."""
    if not source.num_classes:
        return None
    counts = np.bincount(
        source.labels[source.labels >= 0], minlength=source.num_classes
    )
    smallest, largest = int(counts.argmin()), int(counts.argmax())
    return {
        "classes": source.num_classes,
        "smallest": [printable(source.class_names[smallest]), int(counts[smallest])],
        "median": float(np.median(counts)),
        "largest": [printable(source.class_names[largest]), int(counts[largest])],
        "unlabelled": int((source.labels == NO_LABEL).sum()),
    }


def _named(names: list) -> dict[str, Any]:
    return {"count": len(names), "names": names[:NAMED]}
