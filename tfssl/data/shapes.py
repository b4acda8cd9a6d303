"""`shapes`: the embedded data set, drawn by the program, endless and labelled.

Nothing is downloaded or read. The pictures depend on split and index alone; training
and test pictures come from disjoint random streams.
"""

from __future__ import annotations

import functools

import numpy as np
import tensorflow as tf

from tfssl.core.python_calls import python_call
from tfssl.data import drawing
from tfssl.data.mask_files import as_png
from tfssl.data.objects import Objects, OfImage
from tfssl.data.outlines import CLASS_NAMES
from tfssl.data.source import NO_LABEL, Described, Reading, SourceOptions
from tfssl.data.splits import Split
from tfssl.errors import DataError, message, unknown

DEFAULT_EXAMPLES = 10_000
_FEW = 2**26  # bytes: sets up to here are kept for the next one to open them
MEMORY = 2**30  # bytes: sets up to here are drawn once, at opening
_ALIASES = {"train": "train", "test": "test", "validation": "test"}
_TEST_ID = 2**40  # ids of test pictures start here


class Shapes(Described):
    """Drawn pictures of ten outlines, one class per picture; see `drawing`.

    The label is `drawing.class_of(index)`: every slice is balanced. `id` is the index,
    plus 2**40 for test pictures.

    Args:
      split: `train`, or `test` (also called `validation`), possibly sliced.
      examples: Training pictures; the test split has a fifth of it, at least 200.
      image_size: Side in pixels, >= 16.
      memory: Bytes up to which everything is drawn at opening; beyond, pictures are
        drawn when they are asked for. The pictures are the same.

    Raises:
      DataError: Unknown split, empty slice, or size below 16.
    """

    class_names = CLASS_NAMES
    num_classes = len(CLASS_NAMES)
    may_fail = False

    def __init__(
        self,
        split: Split,
        *,
        examples: int = DEFAULT_EXAMPLES,
        image_size: int = 32,
        memory: int = MEMORY,
    ):
        if split.name not in _ALIASES:
            raise DataError(unknown("split of shapes", split.name, _ALIASES))
        if image_size < drawing.MIN_SIZE:
            raise DataError(drawing.too_small(image_size))
        self._stream = _ALIASES[split.name]
        total = examples if self._stream == "train" else max(examples // 5, 200)
        self._start, stop = split.bounds(total)
        self._size = image_size
        self.name = f"shapes:{examples}/{split.text}"
        self._whole = f"shapes:{examples}/{self._stream}"
        self.num_examples = stop - self._start
        numbers = np.arange(self._start, stop, dtype=np.int64)
        self.labels = drawing.class_of(numbers)
        self.ids = numbers + (_TEST_ID if self._stream == "test" else 0)
        self._drawn = None
        size = self.num_examples * image_size**2 * 3
        if size <= memory:
            pictures = _few_pictures if size <= _FEW else _pictures
            self._drawn = pictures(self._stream, self._start, stop, image_size)

    def _draw(self, index: int) -> np.ndarray:
        return drawing.draw_image(self._start + int(index), self._stream, self._size)

    def example(self, index: tf.Tensor) -> dict[str, tf.Tensor]:
        """See `Source.example`."""
        shape = [self._size, self._size, 3]
        if self._drawn is None:
            image = python_call(self._draw, [index], tf.uint8, stateful=False)
        else:
            image = tf.io.decode_raw(self._drawn[index], tf.uint8)
        number = index + self._start
        return {
            "image": tf.reshape(image, shape),
            "label": drawing.class_of(number),
            "id": number + (_TEST_ID if self._stream == "test" else 0),
        }

    def where(self, index: int) -> str:
        """The data set, and the number of the picture in the whole of its split."""
        return f"{self._whole} number {self._start + index}"

    def failed(self, index: int) -> str:
        """See `Source.failed`; a drawn picture is never unreadable."""
        return self.where(index)

    def skipped(self) -> list[dict[str, str]]:
        """See `Source.skipped`; always empty."""
        return []


class Scenes(Shapes):
    """Drawn scenes with `objects` of ten classes; see `drawing.draw_scene`.

    Other pictures than those of `Shapes` of the same name, and no label: a scene has
    several classes. Arguments and ids are those of `Shapes`.

    Args:
      masks: Whether `example` also gives `mask`, uint8 `[h, w, 1]`: 0 is background,
        1 + class what is seen of an object.

    Attributes:
      objects: Boxes of what is seen of each object.
    """

    class_names = ()
    num_classes = None

    def __init__(
        self,
        split: Split,
        *,
        examples: int = DEFAULT_EXAMPLES,
        image_size: int = 32,
        memory: int = MEMORY,
        masks: bool = False,
    ):
        super().__init__(split, examples=examples, image_size=image_size, memory=0)
        self.name = self.name.replace("shapes", "scenes of shapes", 1)
        self._whole = self._whole.replace("shapes", "scenes of shapes", 1)
        self.labels = np.full(self.num_examples, NO_LABEL, np.int64)
        stop, size = self._start + self.num_examples, image_size
        kept = self.num_examples * size**2 * 3 <= memory
        drawn = _scenes(self._stream, self._start, stop, size, kept)
        self._drawn, self.objects, self._masks = drawn
        self.pixel_classes = ("background", *CLASS_NAMES) if masks else ()
        self.targets_digest = self.objects.digest()
        self.reading = Reading(notes=(self.objects.text(),))

    def _draw(self, index: int) -> np.ndarray:
        number = self._start + int(index)
        return drawing.draw_scene(number, self._stream, self._size).image

    def example(self, index: tf.Tensor) -> dict[str, tf.Tensor]:
        """See `Source.example`."""
        found = {**super().example(index), "label": tf.constant(NO_LABEL, tf.int64)}
        return found | {"mask": self.mask(index)} if self.pixel_classes else found

    def mask(self, index: tf.Tensor) -> tf.Tensor:
        """The mask alone of an example."""
        mask = tf.io.decode_png(self._masks[index], channels=1)
        return tf.ensure_shape(mask, [self._size, self._size, 1])


@functools.lru_cache(maxsize=4)
def _scenes(
    stream: str, start: int, stop: int, size: int, kept: bool
) -> tuple[tf.Tensor | None, Objects, tf.Tensor]:
    drawn = [drawing.draw_scene(number, stream, size) for number in range(start, stop)]
    found = tuple(OfImage.of(scene.boxes, scene.classes) for scene in drawn)
    pictures = [scene.image.tobytes() for scene in drawn] if kept else None
    masks = [as_png(_classes(scene)) for scene in drawn]
    kept_pictures = pictures and tf.constant(pictures)
    return kept_pictures, Objects(CLASS_NAMES, found), tf.constant(masks)


def _classes(scene: drawing.Scene) -> np.ndarray:
    """The class of each pixel, uint8 `[size, size]`; 0 is background."""
    out = np.zeros(scene.image.shape[:2], np.uint8)
    for label, mask in zip(scene.classes, scene.masks, strict=True):
        out[mask] = 1 + label
    return out


def _pictures(stream: str, start: int, stop: int, size: int) -> tf.Tensor:
    # Strings, since TensorFlow keeps them on the host on every machine.
    return tf.constant(
        [drawing.draw_image(i, stream, size).tobytes() for i in range(start, stop)]
    )


# Each mode of one command opens the data set again; drawing it takes seconds.
_few_pictures = functools.lru_cache(maxsize=4)(_pictures)


def open_shapes(argument: str, split: Split, options: SourceOptions) -> Shapes:
    """Opens `shapes` or `shapes:N`.

    Raises:
      DataError: N is no positive number; see also `Shapes`.
    """
    if argument and not (argument.isascii() and argument.isdigit() and int(argument)):
        raise DataError(
            message(
                f"dataset=shapes:{argument}",
                "shapes, or shapes:N with the number N >= 1 of training pictures",
                f"dataset=shapes:{DEFAULT_EXAMPLES}",
            )
        )
    examples = int(argument or DEFAULT_EXAMPLES)
    if options.targets:
        masks = options.targets == "mask"
        size = options.image_size
        return Scenes(split, examples=examples, image_size=size, masks=masks)
    size, memory = options.image_size, MEMORY if options.keep else 0
    return Shapes(split, examples=examples, image_size=size, memory=memory)
