"""Where every record of a TFRecord file begins, and its label: found out once.

A TFRecord file is a chain of (length, CRC of the length, data, CRC of the data) and
cannot be entered in the middle without such a table. It is made by reading the file
from end to end, which also checks every CRC; `tools/make_tfrecords.py` writes it beside
its files, as `FILE.npz`. A damaged record keeps its place in the table, so that it is
skipped and named like a damaged image; what follows a damaged length cannot be found.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import logging
import os
import struct
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfssl.config.remote import is_remote
from tfssl.core import runtime
from tfssl.data import index_file
from tfssl.data.source import first_line
from tfssl.errors import DataError, message

_LOG = logging.getLogger(__name__)
_KIND = "tfrecord-1"
FRAME = 16  # bytes of a record beside its data
_ROWS = 256


@dataclasses.dataclass(frozen=True)
class Shard:
    """One TFRecord file.

    Attributes:
      path: Its path.
      offsets: int64 `[n]`, where each record begins.
      labels: int64 `[n]` as stored; -1 where there is none.
      lost: Bytes at the end in which no record can be found.
    """

    path: str
    offsets: np.ndarray
    labels: np.ndarray
    lost: int = 0


def open_shards(
    paths: list[str], label_key: str, *, index_dir: str | None, rebuild: bool = False
) -> list[Shard]:
    """The tables of files, read from their indexes where these are still right.

    Args:
      paths: TFRecord files.
      label_key: Feature of the label; "": none.
      index_dir: Where tables of foreign files are kept; None: nowhere.
      rebuild: Read all files again.

    Raises:
      DataError: A file that is compressed or no TFRecord, or labels that are no
        integers.
    """

    def one(path: str) -> tuple[Shard, bool]:
        stored = None if rebuild else _stored(path, label_key, index_dir)
        return (stored, False) if stored else (_scan(path, label_key), True)

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(one, paths))
    for shard, new in found:
        if new and index_dir:
            place = _place(shard.path, label_key, index_dir)
            index_file.write(place, to_arrays(shard, label_key, _stamp(shard.path)))
        if shard.lost:
            _LOG.warning(
                "%s is damaged after %d records: %d bytes are lost",
                shard.path, len(shard.offsets), shard.lost,
            )  # fmt: skip
    return [shard for shard, _ in found]


def to_arrays(shard: Shard, label_key: str, stamp: list[int]) -> index_file.Arrays:
    """A table as it is stored.

    Args:
      shard: The table.
      label_key: Whose labels they are.
      stamp: Size of the file, and its time; 0: any time will do.
    """
    return {
        "offsets": shard.offsets,
        "labels": shard.labels,
        "lost": np.array(shard.lost),
        "stamp": np.array(stamp, np.int64),
        "label_key": np.array(label_key),
    }


def sidecar(path: str) -> str:
    """Where the writer of a file puts its table."""
    return f"{path}.npz"


def _stored(path: str, label_key: str, index_dir: str | None) -> Shard | None:
    places = [sidecar(path)]
    places += [_place(path, label_key, index_dir)] if index_dir else []
    size, changed = _stamp(path)
    for place in places:
        arrays = index_file.read(place)
        if arrays is None or not {"offsets", "stamp", "label_key"} <= set(arrays):
            continue
        right = arrays["stamp"].tolist() in ([size, changed], [size, 0])
        if right and str(arrays["label_key"]) == label_key:
            lost = int(arrays["lost"])
            return Shard(path, arrays["offsets"], arrays["labels"], lost)
    return None


def _place(path: str, label_key: str, index_dir: str) -> str:
    full = path if "://" in path else os.path.realpath(path)
    return index_file.place(index_dir, _KIND, f"{full}#{label_key}")


def _stamp(path: str) -> list[int]:
    if is_remote(path):
        status = tf.io.gfile.stat(path)
        return [status.length, status.mtime_nsec]
    # TensorFlow's time of a local file has whole seconds, too coarse to see a change.
    local = os.stat(path)
    return [local.st_size, local.st_mtime_ns]


def record(path: tf.Tensor | str, offset: tf.Tensor | int) -> tf.Tensor:
    """The record that begins at a byte of a file; its CRCs are checked.

    The public `TFRecordDataset` has no offset; its kernel has, since TensorFlow 2.10.
    Only as one element: an iterator over it fails (TensorFlow 2.21 forgets the offsets
    when it optimises the data set).

    Raises:
      tf.errors.OpError: When run, if there is no such record or it is damaged.
    """
    kind = {"output_types": [tf.string], "output_shapes": [[]]}
    variant = tf.raw_ops.TFRecordDatasetV2(
        filenames=[path],
        compression_type="",
        buffer_size=tf.constant(0, tf.int64),
        byte_offsets=[tf.cast(offset, tf.int64)],
    )
    one = tf.raw_ops.TakeDataset(
        input_dataset=variant, count=tf.constant(1, tf.int64), **kind
    )
    return tf.raw_ops.DatasetToSingleElement(dataset=one, **kind)[0]


def _scan(path: str, label_key: str) -> Shard:
    """Reads a file from end to end, in one go; one by one after a damaged record."""
    size = tf.io.gfile.stat(path).length
    _refuse_compressed(path)
    starts, labels, at = [np.zeros([0], np.int64)], [np.zeros([0], np.int64)], 0
    look = _looker(label_key)
    batches = runtime.on_all_cores(tf.data.TFRecordDataset(path).batch(_ROWS).map(look))
    try:
        for lengths, numbers in batches.as_numpy_iterator():
            ends = at + np.cumsum(lengths.astype(np.int64) + FRAME)
            starts.append(np.concatenate([[at], ends[:-1]]))
            labels.append(numbers)
            at = int(ends[-1])
    except tf.errors.DataLossError as error:
        if not at and _declared(path, at, size) is None:
            raise DataError(_no_records(path, label_key, error)) from error
    except tf.errors.OpError as error:
        raise DataError(_no_records(path, label_key, error)) from error
    while at < size and (length := _declared(path, at, size)) is not None:
        try:
            number = look(record(path, at)[None])[1].numpy()
        except tf.errors.OpError:
            number = np.array([-1])
        starts.append(np.array([at]))
        labels.append(number)
        at += length + FRAME
    return Shard(
        path, np.concatenate(starts), np.concatenate(labels).astype(np.int64), size - at
    )


def _looker(label_key: str) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """From records `[n]` to their lengths and labels `[n]`."""
    wanted = {label_key: tf.io.FixedLenFeature([], tf.int64, -1)} if label_key else {}

    def look(batch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        lengths = tf.strings.length(batch)
        if not wanted:
            return lengths, -tf.ones_like(lengths, tf.int64)
        return lengths, tf.io.parse_example(batch, wanted)[label_key]

    return look


def _declared(path: str, at: int, size: int) -> int | None:
    """The length that a record declares; None where it leads out of the file."""
    with tf.io.gfile.GFile(path, "rb") as file:
        file.seek(at)
        head = file.read(8)
    length = struct.unpack("<Q", head)[0] if len(head) == 8 else size
    return length if at + length + FRAME <= size else None


def _refuse_compressed(path: str) -> None:
    with tf.io.gfile.GFile(path, "rb") as file:
        head = file.read(2)
    if head == b"\x1f\x8b":
        raise DataError(
            message(
                f"{path}, which is compressed by gzip",
                "uncompressed TFRecords, since a record in a compressed file has no "
                "place of its own (JPEGs do not shrink anyway)",
                f"gunzip -S '' < {path} > FILE, or tools/make_tfrecords.py",
            )
        )


def _no_records(path: str, label_key: str, error: tf.errors.OpError) -> str:
    return message(
        f"{path}, whose first record cannot be read ({first_line(error)})",
        "a TFRecord of tf.train.Example"
        + (f" with the label as an integer in {label_key}" if label_key else ""),
        "other files, or tfrecord_label_key=NAME (empty: no labels)",
    )
