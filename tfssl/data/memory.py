"""Decodes a small data set once, instead of once an epoch.

For images of one common size that fit a budget. Decoding 50,000 small JPEGs takes
longer than reading them back from memory for the rest of the run.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfssl.core import runtime
from tfssl.data.rows import fetch, fetch_or_mask
from tfssl.data.source import Described, Reading, Source

BUDGET = 2**29  # bytes of decoded images
_CHUNK = 256


def in_memory(source: Source, *, budget: int = BUDGET) -> Source:
    """The source itself, or its images decoded now and kept.

    Args:
      source: Any source.
      budget: Bytes that the decoded images may take; 0 keeps the source as it is.

    Returns:
      `Decoded`, when all readable images have one size and fit; else `source`.
    """
    if budget <= 0 or not source.may_fail:
        return source
    shape = _probe(source)
    if shape is None or source.num_examples * int(np.prod(shape)) > budget:
        return source
    try:
        decoded = _decode_all(source, shape, source.example)
    except tf.errors.OpError:  # something is unreadable: again, with care
        decoded = _decode_all(source, shape, None)
    return source if decoded is None else Decoded(source, shape, *decoded)


class Decoded(Described):
    """A source with its decoded images in memory; everything else is the source's.

    An example that could not be read stays unreadable.
    """

    def __init__(
        self,
        source: Source,
        shape: tuple[int, int, int],
        images: list[bytes],
        ids: list[int],
    ):
        self._source = source
        self._shape = shape
        self.name = source.name
        self.reading = getattr(source, "reading", Reading())
        self.num_examples = source.num_examples
        self.num_classes = source.num_classes
        self.class_names = source.class_names
        self.unknown_classes = getattr(source, "unknown_classes", ())
        self.labels, self.ids = source.labels, source.ids
        self.several = getattr(source, "several", None)
        self.may_fail = not all(images)
        # Text, numbers too, since TensorFlow keeps strings on the host everywhere.
        self._images = tf.constant(images)
        self._labels = tf.constant([str(label) for label in source.labels.tolist()])
        self._ids = tf.constant([str(number) for number in ids])

    def example(self, index: tf.Tensor) -> dict[str, tf.Tensor]:
        """See `Source.example`."""
        pixels = tf.io.decode_raw(self._images[index], tf.uint8)
        return {
            "image": tf.reshape(pixels, self._shape),  # an empty string fails here
            "label": tf.strings.to_number(self._labels[index], tf.int64),
            "id": tf.strings.to_number(self._ids[index], tf.int64),
        }

    @property
    def shape(self) -> tuple[int, int, int] | None:
        """`(h, w, 3)` of all images; None if an example may be unreadable."""
        return None if self.may_fail else self._shape

    def examples(self, indices: tf.Tensor) -> dict[str, tf.Tensor]:
        """Several examples at once, for a source with a `shape`.

        Args:
          indices: int64 `[b]`, each in [0, num_examples).

        Returns:
          `image` uint8 `[b, h, w, 3]`, `label` and `id` int64 `[b]`.
        """
        pixels = tf.io.decode_raw(tf.gather(self._images, indices), tf.uint8)
        image = tf.reshape(pixels, [-1, *self._shape])
        return {"image": image, **self.numbers(indices)}

    def numbers(self, indices: tf.Tensor) -> dict[str, tf.Tensor]:
        """`examples` without the images."""
        labels, ids = (tf.gather(text, indices) for text in (self._labels, self._ids))
        return {
            "label": tf.strings.to_number(labels, tf.int64),
            "id": tf.strings.to_number(ids, tf.int64),
        }

    def pixels(self) -> np.ndarray:
        """All images, uint8 `[n, h, w, 3]`, of a source with a `shape`."""
        whole = b"".join(self._images.numpy())
        return np.frombuffer(whole, np.uint8).reshape([-1, *self._shape])

    def where(self, index: int) -> str:
        """See `Source.where`."""
        return self._source.where(index)

    def content(self, index: int) -> bytes:
        """See `Source.content`."""
        return self._source.content(index)

    def failed(self, index: int) -> str:
        """See `Source.failed`."""
        return self._source.failed(index)

    def skipped(self) -> list[dict[str, str]]:
        """See `Source.skipped`."""
        return self._source.skipped()


def _probe(source: Source) -> tuple[int, int, int] | None:
    """The shape of the first readable image; None when there is none nearby."""
    first = tf.data.Dataset.range(1).map(lambda i: fetch(source, i)["image"])
    try:
        return tuple(next(iter(first)).shape.as_list())
    except tf.errors.OpError:
        return None


def _decode_all(
    source: Source, shape: tuple[int, int, int], example_of: Callable | None
) -> tuple[list[bytes], list[int]] | None:
    """Pixels (empty where unreadable) and ids in order; None at another size.

    With `example_of`, which is several times faster, an unreadable example is an error.
    """

    def fitted(index: tf.Tensor) -> tuple[tf.Tensor, ...]:
        if example_of is None:
            example, readable = fetch_or_mask(source, index)
        else:
            example, readable = example_of(index), tf.constant(True)
        fits = tf.reduce_all(tf.shape(example["image"]) == shape)
        image = tf.cond(
            fits, lambda: example["image"], lambda: tf.zeros(shape, tf.uint8)
        )
        return tf.ensure_shape(image, shape), example["id"], readable, fits

    chunks = (
        tf.data.Dataset.range(source.num_examples)
        .map(fitted, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(_CHUNK)
        .prefetch(2)
    )
    images: list[bytes] = []
    numbers: list[int] = []
    for pixels, ids, readable, fits in runtime.on_all_cores(chunks).as_numpy_iterator():
        if not (fits | ~readable).all():
            return None
        images += [
            image.tobytes() if good else b""
            for image, good in zip(pixels, readable, strict=True)
        ]
        numbers += ids.tolist()
    return images, numbers
