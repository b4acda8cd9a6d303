"""Rows of training: reads, decodes, cuts; a bad file never ends a run.

`fetch` gets one example, or the next readable one: its candidates are a small data set
inside the map function, whose errors are ignored; nothing beyond the first readable
candidate is read, and Python is called only when something was unreadable. Making such
a data set takes a CPU as long as half a view, so `batch_rows` lets several rows share
one, and a bad file costs only its own row more.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import tensorflow as tf

from tfssl.augment import crops
from tfssl.augment.recipes import Recipe
from tfssl.core import seeds
from tfssl.core.python_calls import python_call
from tfssl.data.source import Source
from tfssl.errors import DataError, message

Row = dict[str, tf.Tensor]
Make = Callable[[tf.Tensor, tf.Tensor], Row]
"""Function of (place in the stream, number of the example) to a row."""

CANDIDATES = 8  # examples tried before training gives up
_LARGEST = 16  # rows that share a data set; more would only wait for each other


def fetch(
    source: Source, index: tf.Tensor, *, report: bool = True
) -> dict[str, tf.Tensor]:
    """Gets the example at `index`, else the first readable one after it (cyclically).

    Every unreadable one is reported to `source.failed`.

    Args:
      source: The data set.
      index: int64 scalar in [0, num_examples).
      report: False where the source cannot be told, because the graph runs in another
        process; then the error below names the index only.

    Returns:
      As `Source.example`, and `index` int64, the one that was read.

    Raises:
      tf.errors.OpError: At run time, naming the files, when `CANDIDATES` examples in a
        row are unreadable; its text holds that of a `DataError`.
    """
    if not may_fail(source):
        return {**source.example(index), "index": index}
    example, tried = _first_readable(source, index, CANDIDATES)
    example["index"] = (index + tried) % source.num_examples
    if report:
        done = _report(source, index, tried, CANDIDATES)
    else:
        done = tf.debugging.Assert(
            tried < CANDIDATES, [f"{CANDIDATES} unreadable examples from", index]
        )
    with tf.control_dependencies([done]):
        example["id"] = tf.identity(example["id"])
    return example


def fetch_or_mask(
    source: Source, index: tf.Tensor
) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    """Gets the example at `index` and True; a black pixel and False if unreadable.

    Returns:
      As `Source.example`, and a bool scalar.
    """
    if not may_fail(source):
        return source.example(index), tf.constant(True)
    example, tried = _first_readable(source, index, 1)
    return example, _report(source, index, tried, 0)


def may_fail(source: Source) -> bool:
    """Returns `source.may_fail`; True for other objects that yield examples."""
    return getattr(source, "may_fail", True)


def _failed(source: Source, index: int) -> str:
    if hasattr(source, "failed"):
        return source.failed(index)
    return f"{source.name} number {index}"


def nothing(spec: dict[str, tf.TensorSpec] | None = None) -> dict[str, tf.Tensor]:
    """Returns a stand-in for an example: one black pixel, label and id -1.

    Args:
      spec: Of an example; what else it has is zeros, of sides of 1 where they are not
        known.
    """
    others = {
        name: tf.zeros([side or 1 for side in value.shape.as_list()], value.dtype)
        for name, value in (spec or {}).items()
    }
    return others | {
        "image": tf.zeros([1, 1, 3], tf.uint8),
        "label": tf.constant(-1, tf.int64),
        "id": tf.constant(-1, tf.int64),
    }


def _first_readable(
    source: Source, index: tf.Tensor, candidates: int
) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    """(example, how many failed before it); `nothing()` when all failed."""

    def attempt(ahead: tf.Tensor):
        return _typed(source.example((index + ahead) % source.num_examples)), ahead

    found = tf.data.Dataset.range(candidates).map(attempt).ignore_errors()
    spare = nothing(found.element_spec[0]), tf.constant(candidates, tf.int64)
    none = tf.data.Dataset.from_tensors(spare)
    return found.concatenate(none).take(1).get_single_element()


def _typed(example: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    return {
        **example,
        "image": tf.ensure_shape(example["image"], [None, None, 3]),
        "label": tf.cast(example["label"], tf.int64),
        "id": tf.cast(example["id"], tf.int64),
    }


def _report(
    source: Source, index: tf.Tensor, tried: tf.Tensor, limit: int
) -> tf.Tensor:
    """Tells the source about `tried` failures from `index` on; True if none.

    With `limit` > 0, that many failures are an error.
    """

    def write_down(index, tried):
        names = [
            _failed(source, (int(index) + ahead) % source.num_examples)
            for ahead in range(int(tried))
        ]
        if limit and len(names) >= limit:
            raise DataError(
                message(
                    f"{limit} unreadable examples in a row of {source.name}: "
                    + ", ".join(dict.fromkeys(names)),
                    "readable images",
                    "removing or repairing these files",
                )
            )
        return False

    return tf.cond(
        tried > 0,
        lambda: tf.ensure_shape(python_call(write_down, [index, tried], tf.bool), []),
        lambda: tf.constant(True),
    )


def jpeg_kind(source: Source) -> str:
    """Returns how to try `source.jpeg`, see `Encoded.mostly_jpeg`; `""`: not at all."""
    # Asked while a pipeline is being traced; the source reads a file at once, in
    # Python that is not for TensorFlow to rewrite.
    plainly = tf.autograph.experimental.do_not_convert
    with tf.init_scope():
        known = hasattr(source, "mostly_jpeg")
        return plainly(source.mostly_jpeg)() if known else ""


def whole_example(source: Source, index: tf.Tensor, kind: str) -> Row:
    """Returns `source.example`, by a smaller graph where it is a JPEG.

    Args:
      source: The data set.
      index: int64 scalar.
      kind: Of `jpeg_kind`; not empty: whatever else is no JPEG is an error.

    Raises:
      tf.errors.OpError: When run, if it is unreadable.
    """
    if not kind:
        return source.example(index)
    found = source.jpeg(index, look=kind == "look")
    image = tf.io.decode_image(found["data"], channels=3, expand_animations=False)
    image = tf.ensure_shape(image, [None, None, 3])
    return {"image": image, "label": found["label"], "id": found["id"]}


def rows_at_once(batch: int) -> int:
    """Returns the largest number of rows, at most 16, that divides a batch."""
    return max(n for n in range(1, _LARGEST + 1) if batch % n == 0)


def batch_rows(
    position: tf.Tensor, index: tf.Tensor, quick: Make, careful: Make
) -> Row:
    """Makes some rows of a batch, in order.

    Args:
      position: int64 `[n]`, n static: places in the stream.
      index: int64 `[n]`, which example stands there.
      quick: Makes a row from its (position, index); may raise `tf.errors.OpError`. Its
        tensors have static shapes, and are numbers.
      careful: The same for rows whose `quick` failed.

    Returns:
      What `quick` returns, each `[n, ...]`.
    """
    count = position.shape[0]
    places = tf.range(count, dtype=tf.int64)
    tried = tf.data.Dataset.from_tensor_slices((places, position, index))
    made = tried.map(lambda place, *row: (place, quick(*row))).ignore_errors()
    # One more row, so that there is a batch even if nothing was readable.
    spare = tf.nest.map_structure(_zeros, made.element_spec)
    made = made.concatenate(tf.data.Dataset.from_tensors(spare))
    there, found = made.batch(count + 1).get_single_element()

    def whole() -> Row:
        return {name: value[:count] for name, value in found.items()}

    def mended() -> Row:
        missing = tf.reduce_all(places[:, None] != there[None, :-1], axis=1)
        lost = tf.boolean_mask(places, missing)
        again = tf.data.Dataset.from_tensor_slices(
            (tf.gather(position, lost), tf.gather(index, lost))
        )
        others = again.map(careful).batch(count).get_single_element()
        order = tf.argsort(tf.concat([there[:-1], lost], 0))
        return {
            name: tf.gather(tf.concat([value[:-1], others[name]], 0), order)
            for name, value in found.items()
        }

    made_rows = tf.cond(tf.size(there) == count + 1, whole, mended)
    shapes = made.element_spec[1]
    return {
        name: tf.ensure_shape(value, [count, *shapes[name].shape])
        for name, value in made_rows.items()
    }


def _zeros(spec: tf.TensorSpec) -> tf.Tensor:
    return tf.zeros(spec.shape, spec.dtype)


@dataclasses.dataclass(frozen=True)
class ViewRows:
    """Makes rows of `views` uint8 `[V, S, S, 3]`; `label`, `id`, `index` int64.

    Attributes:
      source: The data set.
      recipe: How to crop and flip.
      seed: The run's seed; with a row's position it decides the crops.
      image_size: Side S.
      report: False where the source cannot be told of unreadable examples.
      cutter: Of the host.
    """

    source: Source
    recipe: Recipe
    seed: int
    image_size: int
    report: bool
    cutter: crops.Cutter = crops.TENSORFLOW

    def row(self, position: tf.Tensor, index: tf.Tensor) -> Row:
        """Makes the row at a position, or one of the next readable example.

        Args:
          position: int64 scalar.
          index: int64 scalar, the example that stands there.

        Raises:
          tf.errors.OpError: See `fetch`.
        """
        return self._cut(position, **fetch(self.source, index, report=self.report))

    def rows(self, position: tf.Tensor, index: tf.Tensor) -> Row:
        """Makes rows at `[n]` positions, faster where examples may be unreadable."""
        return batch_rows(position, index, self._quick(), self.row)

    def _quick(self) -> Make:
        kind = jpeg_kind(self.source)
        if not kind:
            return self._plain
        return functools.partial(self._jpeg, look=kind == "look")

    def _plain(self, position: tf.Tensor, index: tf.Tensor) -> Row:
        return self._cut(position, **self.source.example(index), index=index)

    def _jpeg(self, position: tf.Tensor, index: tf.Tensor, look: bool) -> Row:
        found = self.source.jpeg(index, look)
        data, shape, whole = (found.pop(name) for name in ("data", "shape", "whole"))
        cuts = crops.draw(self.recipe, self._crop(position), shape[0], shape[1])
        how = self.recipe, self.image_size, self.cutter
        views = crops.show_jpeg(data, shape, cuts, *how, whole=whole)
        return self._row(views, **found, index=index)

    def _cut(self, position: tf.Tensor, image: tf.Tensor, **numbers: tf.Tensor) -> Row:
        how = self._crop(position), self.image_size, self.cutter
        return self._row(crops.views(image, self.recipe, *how), **numbers)

    def _crop(self, position: tf.Tensor) -> tf.Tensor:
        return seeds.step_seed(self.seed, "geometry", position)

    def _row(self, views: tf.Tensor, **numbers: tf.Tensor) -> Row:
        shape = [len(self.recipe.views), self.image_size, self.image_size, 3]
        known = {
            name: tf.ensure_shape(tf.cast(value, tf.int64), [])
            for name, value in numbers.items()
        }
        return {"views": tf.ensure_shape(views, shape), **known}
