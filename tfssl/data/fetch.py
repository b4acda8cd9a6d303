"""Gets one example, or the next readable one: a bad file never ends a run.

The candidates are a small data set inside the map function, whose errors are ignored;
nothing beyond the first readable candidate is read. Python is called only when
something was unreadable.
"""

from __future__ import annotations

import tensorflow as tf

from tfssl.core.python_calls import python_call
from tfssl.data.source import Source
from tfssl.errors import DataError, message

CANDIDATES = 8  # examples tried before training gives up


def fetch(
    source: Source, index: tf.Tensor, *, report: bool = True
) -> dict[str, tf.Tensor]:
    """The example at `index`, else the first readable one after it (cyclically).

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
    """The example at `index` and True; a black pixel and False when unreadable.

    Returns:
      As `Source.example`, and a bool scalar.
    """
    if not may_fail(source):
        return source.example(index), tf.constant(True)
    example, tried = _first_readable(source, index, 1)
    return example, _report(source, index, tried, 0)


def may_fail(source: Source) -> bool:
    """`source.may_fail`; True for any other object that yields examples."""
    return getattr(source, "may_fail", True)


def _failed(source: Source, index: int) -> str:
    if hasattr(source, "failed"):
        return source.failed(index)
    return f"{source.name} number {index}"


def nothing() -> dict[str, tf.Tensor]:
    """Stands for an example that is not there: one black pixel, label and id -1."""
    return {
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
    none = tf.data.Dataset.from_tensors((nothing(), tf.constant(candidates, tf.int64)))
    return found.concatenate(none).take(1).get_single_element()


def _typed(example: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    return {
        "image": tf.ensure_shape(example["image"], [None, None, 3]),
        "label": tf.cast(example["label"], tf.int64),
        "id": tf.cast(example["id"], tf.int64),
    }


def _report(
    source: Source, index: tf.Tensor, tried: tf.Tensor, limit: int
) -> tf.Tensor:
    """Tells the source about `tried` failures from `index` on; bool: there were none.

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
