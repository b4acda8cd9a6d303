"""Writes a source as TFRecord files, each with its table and checksum, or not at all.

A file appears under its name when it is complete, and its table (`FILE.npz`) after it:
what has a fitting table is done, and a killed job goes on with the rest. What is
written is a pure function of the source and the settings, whoever writes it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from typing import Any

import numpy as np
import tensorflow as tf

from tfssl.config.dataset_name import role
from tfssl.config.remote import as_path
from tfssl.core import runtime
from tfssl.core.paths import write_whole, written_whole
from tfssl.data import index_file, upright
from tfssl.data.encoded import Encoded
from tfssl.data.formats import MAX_PIXELS
from tfssl.data.source import IMAGE_KEY, LABEL_KEY, NO_LABEL, Source
from tfssl.data.tfrecord_index import FRAME, Shard, sidecar, to_arrays
from tfssl.data.tfrecord_source import MANIFEST
from tfssl.errors import DataError, message


@dataclasses.dataclass(frozen=True)
class Settings:
    """What decides the content of the files.

    Attributes:
      dataset: As on the command line.
      split: Of the data set; also the first part of the files' names.
      shards: Number of files.
      shorter_side: Larger images are made so small; 0: files are copied as they are.
      quality: Of the JPEGs that are made where an image is resized.
      max_pixels: Images that declare more are left out.
    """

    dataset: str
    split: str
    shards: int
    shorter_side: int = 0
    quality: int = 95
    max_pixels: int = MAX_PIXELS

    def file(self, out: str, number: int) -> str:
        """The path of one file."""
        name = f"{self.split}-{number:05}-of-{self.shards:05}.tfrecord"
        return os.path.join(out, name)


def write_shard(source: Encoded, settings: Settings, out: str, number: int) -> int:
    """Writes one file and its table, unless both are there.

    Args:
      source: The whole split; the file takes an equal part of it, in its order.
      settings: Of the job.
      out: Directory; made if missing.
      number: Of the file, in [0, settings.shards).

    Returns:
      The number of records in it.
    """
    path = settings.file(out, number)
    if (done := finished(path)) is not None:
        return len(done["offsets"])
    total = source.num_examples
    start, stop = (total * n // settings.shards for n in (number, number + 1))
    offsets, labels, skipped = [], [], []
    at, digest = 0, hashlib.sha256()
    with (
        written_whole(as_path(path)) as beside,
        tf.io.TFRecordWriter(str(beside)) as writer,
    ):
        for index in range(start, stop):
            try:
                record = _record(source, settings, index)
            except (OSError, tf.errors.OpError, ValueError):
                skipped.append(source.failed(index))
                continue
            writer.write(record)
            digest.update(record)
            offsets.append(at)
            labels.append(_number(source, index))
            at += len(record) + FRAME
    table = Shard(path, np.array(offsets, np.int64), np.array(labels, np.int64))
    arrays = to_arrays(table, LABEL_KEY, [at, 0]) | {
        "sha256": np.array(digest.hexdigest()),
        "skipped": np.array(json.dumps(skipped)),
    }
    if not index_file.write(sidecar(path), arrays):
        raise DataError(
            message(f"no rights to write in {out}", "a directory", "others")
        )
    return len(offsets)


def finished(path: str) -> index_file.Arrays | None:
    """The table of a complete file, else None."""
    arrays = index_file.read(sidecar(path)) if tf.io.gfile.exists(path) else None
    if arrays is None or "sha256" not in arrays:
        return None
    size = tf.io.gfile.stat(path).length
    return arrays if int(arrays["stamp"][0]) == size else None


def begin(source: Source, settings: Settings, out: str) -> None:
    """Says in `out` what is being written; refuses a directory of another job.

    Raises:
      DataError: The source holds no encoded images, or `out` another job's files.
    """
    if not isinstance(source, Encoded):
        raise DataError(
            message(
                f"{source.name}, which has no files", "images in files", "folder:DIR"
            )
        )
    job = dataclasses.asdict(settings) | {
        "examples": hashlib.sha256(source.ids.tobytes()).hexdigest()
    }
    path = os.path.join(out, f"{settings.split}.job.json")
    if tf.io.gfile.exists(path):
        with tf.io.gfile.GFile(path, "r") as file:
            there = json.load(file)
        differ = [key for key in job if there.get(key) != job[key]]
        if differ:
            raise DataError(
                message(
                    f"--out={out} with files of other {', '.join(differ)}",
                    "the job that was begun there, or an empty directory",
                    "another --out",
                )
            )
    _write_json(path, job)


def end(source: Source, settings: Settings, out: str) -> dict[str, Any]:
    """Writes the manifest, when all files are there.

    Returns:
      What `manifest.json` now says of this split.

    Raises:
      DataError: A file is missing.
    """
    files, skipped = [], []
    for number in range(settings.shards):
        path = settings.file(out, number)
        table = finished(path)
        if table is None:
            raise DataError(
                message(f"no {path}", "all files", "the same command again")
            )
        skipped += json.loads(str(table["skipped"]))
        files.append(
            {
                "file": os.path.basename(path),
                "records": len(table["offsets"]),
                "bytes": int(table["stamp"][0]),
                "sha256_of_records": str(table["sha256"]),
            }
        )
    path = os.path.join(out, MANIFEST)
    manifest: dict[str, Any] = {"splits": {}}
    if tf.io.gfile.exists(path):
        with tf.io.gfile.GFile(path, "r") as file:
            manifest = json.load(file)
    this = dataclasses.asdict(settings) | {
        "records": sum(file["records"] for file in files),
        "skipped": skipped,
        "files": files,
        "class_names": list(source.class_names),
        "unknown_classes": list(source.unknown_classes),
    }
    # For other readers one list for all: the training split's, where that is here.
    if role(settings.split) == "train" or not manifest.get("class_names"):
        manifest["class_names"] = this["class_names"]
    manifest["features"] = {"image": IMAGE_KEY, "label": LABEL_KEY}
    manifest["splits"][settings.split] = this
    _write_json(path, manifest)
    return this


def damaged(settings: Settings, out: str) -> list[str]:
    """Reads every file again: those whose records are not what was written."""
    bad = []
    for number in range(settings.shards):
        path = settings.file(out, number)
        table, digest = finished(path), hashlib.sha256()
        try:
            records = runtime.on_all_cores(tf.data.TFRecordDataset(path))
            for record in records.as_numpy_iterator():
                digest.update(record)
        except tf.errors.OpError:
            table = None
        if table is None or digest.hexdigest() != str(table["sha256"]):
            bad.append(path)
    return bad


def _record(source: Encoded, settings: Settings, index: int) -> bytes:
    data = source.read(index)
    image = source.decoded(tf.constant(data))  # also finds what is unreadable
    side = min(image.shape[:2])
    if 0 < settings.shorter_side < side:
        share = settings.shorter_side / side
        size = [max(1, round(length * share)) for length in image.shape[:2]]
        small = tf.image.resize(image, size, "bicubic", antialias=True)
        image = tf.cast(tf.clip_by_value(tf.round(small), 0, 255), tf.uint8)
        way = int(upright.orientation(tf.constant(data)))
        data = tf.io.encode_jpeg(image, quality=settings.quality).numpy()
        data = upright.marked(data, way)  # which way is up is kept
    label, number = _number(source, index), int(source.ids[index])
    features = {
        IMAGE_KEY: _bytes(data),
        "image/filename": _bytes(os.fsencode(os.path.basename(source.where(index)))),
        "image/height": _int(image.shape[0]),
        "image/width": _int(image.shape[1]),
        "image/id": _int(number),
    }
    if label >= 0:
        features[LABEL_KEY] = _int(label)
        features["image/class/text"] = _bytes(os.fsencode(source.class_of(index)))
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return example.SerializeToString(deterministic=True)


def _number(source: Encoded, index: int) -> int:
    """The label in a file: classes that training lacks follow behind its own."""
    label = int(source.labels[index])
    behind = len(source.class_names) + NO_LABEL - 1 - label
    return behind if label < NO_LABEL else label


def _bytes(value: bytes) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def _int(value: int) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))


def _write_json(path: str, content: dict[str, Any]) -> None:
    write_whole(as_path(path), json.dumps(content, indent=1) + "\n")
