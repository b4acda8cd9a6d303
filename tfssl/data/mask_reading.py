"""What sources with masks share: all are read at opening, and what is wrong is counted.

Every mask is read once and kept in memory as a small PNG of its numbers; a training
decodes those. So whatever is wrong with a mask is known and said before the first step,
and none ends a run:

* a mask that cannot be read, has another size than its image, or whose pixels are all
  ignored: the pair is left out;
* a number that is no class: its pixels are ignored, as 255 is.

EXIF orientation. A mask is drawn either on the pixels as they lie in the file, or on
the picture as it is shown; its size tells which, where the sides differ. Both are
brought to agree: `orient=none` leaves both as they lie and turns only an image whose
mask is upright; `orient=exif` turns both, but for a mask that is upright already.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import hashlib
import itertools
import os
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import numpy as np
import tensorflow as tf

from tfssl.augment.dense import IGNORED
from tfssl.data import mask_files, upright
from tfssl.data.decode import decode
from tfssl.data.encoded import Encoded
from tfssl.data.host_table import Numbers, Texts
from tfssl.data.mask_files import KINDS
from tfssl.data.mask_layout import require_few
from tfssl.errors import message, printable

T = TypeVar("T")
_AT_ONCE = 512

Head = tuple[int, int, int] | str
"""Height, width and EXIF orientation of an image file; or why it has none."""


@dataclasses.dataclass(frozen=True)
class Read:
    """Masks as they were read, in order.

    Attributes:
      files: PNG of the numbers each; empty where it could not be read.
      counts: int64 `[n, 256]`, pixels of each number.
      above: int64 `[n]`, see `mask_files.Mask`.
      shapes: int64 `[n, 2]`, height and width.
      kinds: Of `mask_files.KINDS` to how many masks are such.
      reasons: Place to why it could not be read.
    """

    files: list[bytes]
    counts: np.ndarray
    above: np.ndarray
    shapes: np.ndarray
    kinds: dict[str, int]
    reasons: dict[int, str]


def read_masks(
    count: int, masks: Iterable[T], read: Callable[[T], mask_files.Mask]
) -> Read:
    """Reads masks, several at a time.

    Args:
      count: How many.
      masks: What each is read of.
      read: Reads one; may raise OSError, and ValueError with the reason.
    """

    def one(item: T) -> tuple[mask_files.Mask | None, str, bytes]:
        try:
            mask = read(item)
        except (OSError, ValueError) as error:
            return None, getattr(error, "strerror", None) or str(error), b""
        return mask, "", mask_files.as_png(mask.numbers)

    found = Read([], np.zeros((count, 256), np.int64), np.zeros(count, np.int64),
                 np.zeros((count, 2), np.int64), {}, {})  # fmt: skip
    items = iter(masks)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        # In parts: not all files are in memory beside what is kept of them.
        parts = iter(lambda: [*itertools.islice(items, _AT_ONCE)], [])
        each = itertools.chain.from_iterable(pool.map(one, part) for part in parts)
        for place, (mask, reason, data) in enumerate(each):
            found.files.append(data)
            if mask is None:
                found.reasons[place] = reason
                continue
            found.counts[place] = np.bincount(mask.numbers.ravel(), minlength=256)
            found.above[place], found.shapes[place] = mask.above, mask.numbers.shape
            for kind in mask.kinds:
                found.kinds[kind] = found.kinds.get(kind, 0) + 1
    return found


@dataclasses.dataclass(frozen=True)
class Classes:
    """Which number of a mask is which class.

    Attributes:
      names: One a class.
      table: uint8 `[256]`, from number to class, `IGNORED` for none.
      partial: Numbers without a class are expected, and no mistake.
      note: A sentence, or "".
    """

    names: tuple[str, ...]
    table: np.ndarray
    partial: bool = False
    note: str = ""


def classes_of(
    counts: np.ndarray, names: Sequence[str] = (), *, sure: bool = False
) -> Classes:
    """Decides which number is which class.

    Numbers up to the highest one that is there, or those of `names`. Where the numbers
    are 0 and 255 alone, 255 is class 1 and nothing is ignored; as 255 are those from
    128 on where resizing or JPEG has left some between.

    Args:
      counts: int64 `[n, 256]`, pixels of each number in the training masks.
      names: Of the classes; empty: not known.
      sure: Whether these are certain, so that a number beyond them is a mistake.

    Raises:
      DataError: More than 255 names.
    """
    require_few(names)
    there = np.flatnonzero(counts.sum(0))
    # COCO-Stuff's labels.txt counts from 1, behind "unlabeled", its PNG from 0 to 181.
    from_1 = len(names) == 183 and names[0] == "unlabeled"
    stuff = ""
    if from_1 and IGNORED in there and 182 not in there:
        names, stuff = names[1:], "names count from 1, as COCO-Stuff's, masks from 0"
    table = np.full(256, IGNORED, np.uint8)
    two = tuple(names) if len(names) == 2 else ("background", "foreground")
    if len(names) <= 2 and set(there.tolist()) == {0, IGNORED}:
        table[[0, IGNORED]] = 0, 1
        return Classes(two, table, note="numbers 0 and 255 alone: 255 is class 1")
    if len(names) <= 2 and (between := _bleeding(counts.sum(0))):
        table[:128], table[128:] = 0, 1
        note = (
            f"{100 * between:.1f} % of the numbers lie between 0 and 255, as resizing "
            "or JPEG leave them: those from 128 on are class 1"
        )
        return Classes(two, table, note=note)
    highest, note = int(there[there != IGNORED].max(initial=-1)), stuff
    if not names and (missing := highest + 1 - np.count_nonzero(there != IGNORED)) > 0:
        note = f"no file of class names: numbers, {missing} of which no mask has"
    if names and not sure and highest >= len(names):
        note = f"numbers up to {highest}: the layout's {len(names)} names do not fit"
        names = ()
    names = tuple(names) or tuple(f"class {n}" for n in range(highest + 1))
    table[: len(names)] = np.arange(len(names))
    return Classes(names, table, note=note)


def also_black_and_white(classes: Classes, counts: np.ndarray) -> Classes:
    """Two classes, where these masks have 1 for the second one and others 255.

    Args:
      classes: Of the training masks.
      counts: int64 `[n, 256]`, of other masks.
    """
    there = {*np.flatnonzero(counts.sum(0)).tolist()}
    for number, other in ((1, IGNORED), (IGNORED, 1)):
        if len(classes.names) == 2 and there == {0, other}:
            known = classes.table[number] == 1 and classes.table[other] == IGNORED
            if known:
                table = classes.table.copy()
                table[other] = 1
                note = f"numbers 0 and {other} alone: {other} is class 1"
                return dataclasses.replace(classes, table=table, note=note)
    return classes


def _bleeding(pixels: np.ndarray) -> float:
    """The share of numbers between 0 and 255 in masks that were black and white.

    They are few, spread over the whole range, and most of them close to its ends; 0
    where the numbers may well be those of classes.
    """
    between = np.flatnonzero(pixels[1:IGNORED]) + 1
    near = pixels[:16].sum() + pixels[240:].sum()
    if len(between) < 5 or not pixels[IGNORED] or near < 0.9 * pixels.sum():
        return 0.0
    gaps = between[-1] >= 64 and 2 * len(between) < between[-1]
    if not gaps and not pixels[240:IGNORED].any():
        return 0.0
    return float(pixels[1:IGNORED].sum() / pixels.sum())


def heads(count: int, file_of: Callable[[int], str | bytes]) -> list[Head]:
    """Reads size and orientation of images, several at a time.

    Args:
      count: How many.
      file_of: Number to the image's path or bytes.
    """

    def head(place: int) -> Head:
        try:
            return mask_files.header(file_of(place))
        except (OSError, ValueError) as error:
            return f"its image {error}"

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(head, range(count)))


_TURNED = (
    "images lie turned by EXIF, and so do their masks",
    "images lie turned by EXIF, and their masks are upright: the images are turned",
    "images have an EXIF orientation, and masks that fit either way: taken to lie as "
    "the file does",
)


@dataclasses.dataclass(frozen=True)
class Agreed:
    """What can be used of pairs of an image and a mask.

    Attributes:
      ways: int64 `[n, 2]`: EXIF orientations by which image and mask are turned.
      reasons: Place to the reason why a pair cannot be used.
      turned: Sentence to how many images it is of.
    """

    ways: np.ndarray
    reasons: dict[int, str]
    turned: dict[str, int]


def agreed(read: Read, images: Sequence[Head], classes: Classes, orient: str) -> Agreed:
    """Holds masks against their images.

    Args:
      read: The masks.
      images: One a mask.
      classes: Of them.
      orient: `"none"` or `"exif"`.
    """
    found = Agreed(np.ones((len(images), 2), np.int64), dict(read.reasons), {})
    empty = read.counts[:, classes.table != IGNORED].sum(1) == 0
    for place, head in enumerate(images):
        if place in found.reasons:
            continue
        if isinstance(head, str):
            found.reasons[place] = head
            continue
        *size, way = head
        shape = read.shapes[place].tolist()
        lies, stands = shape == size, shape == (size[::-1] if way > 4 else size)
        if not lies and not stands:
            sizes = f"{shape[0]} x {shape[1]}, its image {size[0]} x {size[1]}"
            found.reasons[place] = f"is {sizes}"
        elif empty[place]:
            found.reasons[place] = "has no pixel of any class: all are ignored"
        elif way > 1:
            exif = orient == "exif"
            found.ways[place, 0] = way if exif or not lies else 1
            found.ways[place, 1] = way if exif and lies else 1
            what = _TURNED[2 if lies and stands else 0 if lies else 1]
            found.turned[what] = found.turned.get(what, 0) + 1
    return found


def told(
    read: Read, classes: Classes, found: Agreed, where: Callable[[int], str]
) -> list[str]:
    """What is to be said of the masks of a split, one sentence each.

    Args:
      read: The masks.
      classes: Of them.
      found: What can be used.
      where: Number to the name of a mask.
    """
    names, table = classes.names, classes.table
    pixels = np.bincount(table, read.counts.sum(0), 256)
    total = max(float(pixels.sum()), 1.0)
    shares = [
        f"{printable(n)} {100 * pixels[k] / total:.1f} %" for k, n in enumerate(names)
    ]
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    notes = [classes.note] if classes.note else []
    notes.append(
        f"masks of {len(names)} classes: {', '.join(shares[:6])}{more}; "
        f"ignored {100 * pixels[IGNORED] / total:.1f} %"
    )
    if found.reasons:
        place = min(found.reasons)
        notes.append(
            f"{len(found.reasons)} pairs left out, such as {printable(where(place))}, "
            f"which {found.reasons[place]}"
        )
    strange = read.counts[:, :IGNORED][:, table[:IGNORED] == IGNORED].sum(1)
    strange += read.above
    if not classes.partial and (count := int((strange > 0).sum())):
        worst = int(np.argmax(strange))
        notes.append(
            f"{count} masks hold numbers that are no class, {int(strange.sum())} "
            f"pixels in all, which are ignored, such as {printable(where(worst))}"
        )
    for kind, text in KINDS.items():
        notes += [f"{read.kinds[kind]} masks {text}"] if kind in read.kinds else []
    return notes + [f"{count} {text}" for text, count in found.turned.items()]


def none_left(source: str, found: Agreed, where: Callable[[int], str]) -> str:
    """The text of the error where no pair can be used."""
    places = sorted(found.reasons)
    named = [f"{printable(where(p))} {found.reasons[p]}" for p in places[:3]]
    return message(
        f"{source} with {len(places)} pairs of image and mask, none of which can be "
        f"used: {'; '.join(named)}",
        "a mask of the image's size with pixels of some class",
        "PNG files of class numbers",
    )


class WithMasks(Encoded):
    """A source of encoded images whose examples also have `mask`, uint8 `[h, w, 1]`."""

    def keep_masks(
        self, files: Sequence[bytes], classes: Classes, ways: np.ndarray
    ) -> None:
        """Takes the masks.

        Args:
          files: One PNG of numbers an example.
          classes: Of the numbers.
          ways: int64 `[n, 2]`, see `Agreed`.
        """
        self.pixel_classes = classes.names
        self._masks, self._table = Texts(files), tf.constant(classes.table)
        self._of_image, self._of_mask = (Numbers(column) for column in ways.T)
        digest = hashlib.sha256(b"".join([classes.table.tobytes(), *files]))
        self.targets_digest = digest.hexdigest()

    def example(self, index: tf.Tensor) -> dict[str, tf.Tensor]:
        """See `Source.example`; also `mask`, classes or `IGNORED`."""
        found = self.encoded(index)
        image = decode(found.pop("data"), self.max_pixels)
        image = upright.turn(image, tf.cast(self._of_image(index), tf.int32))
        image = tf.ensure_shape(image, [None, None, 3])
        return {"image": image, "mask": self.mask(index), **found}

    def mask(self, index: tf.Tensor) -> tf.Tensor:
        """The mask alone of an example."""
        mask = tf.io.decode_png(self._masks(index), channels=1)
        mask = tf.gather(self._table, tf.cast(mask, tf.int32))
        mask = upright.turn(mask, tf.cast(self._of_mask(index), tf.int32))
        return tf.ensure_shape(mask, [None, None, 1])

    def mostly_jpeg(self) -> str:
        """See `Encoded.mostly_jpeg`: whole images are decoded."""
        return ""
