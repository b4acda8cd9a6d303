"""`tfrecord:GLOB`: TFRecord files of tf.train.Example, any record at any time.

Splits. `tfrecord:data/{split}-*` takes the files of a split's name (or of another name
of a held-out split). Without `{split}` a stable tenth of the records is held out, and
`all` is everything. Order is that of the files' names and of the records in them; a
tenth and slices are as mixed as the files are (`tools/make_tfrecords.py` mixes). `id`
comes of the file's name and the record's number in it.

Classes. Files hold numbers. Their names stand beside the files: in `manifest.json`, for
each split, as `tools/make_tfrecords.py` writes it, or a name a line in `labels.txt` or
`classes.txt` (also `0:name`, as TF-Slim writes). Held-out records are compared with the
training files by these names; a class that training lacks is named, counted and not
scored. Without names the numbers are the names.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfssl.config import dataset_name
from tfssl.config.dataset_name import SPELLINGS, SPLIT, is_held_out, names_of, role
from tfssl.config.remote import cache_directory
from tfssl.data.classes import renumbered
from tfssl.data.encoded import Encoded
from tfssl.data.formats import MAX_PIXELS
from tfssl.data.host_table import Numbers, Texts
from tfssl.data.scan import LEFTOVERS
from tfssl.data.source import (
    IMAGE_KEY,
    LABEL_KEY,
    NO_LABEL,
    SourceOptions,
    first_line,
)
from tfssl.data.splits import Split, held_out_tenth, mixed, nothing_held_out
from tfssl.data.tfrecord_index import Shard, open_shards, record
from tfssl.data.tree import path_hash
from tfssl.errors import DataError, message, unknown

MANIFEST = "manifest.json"
CLASS_FILES = ("labels.txt", "classes.txt")
"""Beside TFRecord files: a class a line, in the order of their numbers."""
_NAMES = ("class_names", "unknown_classes")
_BESIDE = (".npz", ".tmp", ".json", ".txt", ".md", ".pbtxt", ".crc", ".csv")


class Records(Encoded):
    """Records of some files as a source; subclasses choose which and give names.

    Args:
      shards: The files.
      places: int64 `[n]`, numbers of the records, counted through all files.
      image_key: Feature with the encoded image.
      labels: int64 `[n]`, of the chosen ones.
      ids: int64 `[n]`.
      max_pixels: See `Encoded`.
    """

    def __init__(
        self,
        shards: list[Shard],
        places: np.ndarray,
        image_key: str,
        labels: np.ndarray,
        ids: np.ndarray,
        max_pixels: int,
    ):
        super().__init__(max_pixels)
        sizes = [len(shard.offsets) for shard in shards]
        files = np.repeat(np.arange(len(shards)), sizes)[places]
        offsets = np.concatenate([shard.offsets for shard in shards])[places]
        inside = np.concatenate([np.arange(size) for size in sizes])[places]
        self.num_examples = len(places)
        self.labels, self.ids = labels, ids
        self._shards, self._files, self._inside = shards, files, inside
        self._image_key = image_key
        self._paths = Texts([os.fsencode(shard.path) for shard in shards])
        self._file_table, self._offset_table = Numbers(files), Numbers(offsets)
        self._label_table, self._id_table = Numbers(labels), Numbers(ids)

    def encoded(self, index: tf.Tensor) -> dict[str, tf.Tensor]:
        """See `Encoded.encoded`."""
        return {
            "data": self._image(index),
            "label": self._label_table(index),
            "id": self._id_table(index),
        }

    def _image(self, index: tf.Tensor) -> tf.Tensor:
        path = self._paths(self._file_table(index))
        data = record(path, self._offset_table(index))
        wanted = {self._image_key: tf.io.FixedLenFeature([], tf.string)}
        example = tf.io.parse_single_example(data, wanted)
        return example[self._image_key]

    def where(self, index: int) -> str:
        """The file, and the number of the record in it."""
        path = self._shards[self._files[index]].path
        return f"{path} record {self._inside[index]}"

    def read(self, index: int) -> bytes:
        """See `Encoded.read`."""
        return self._image(tf.constant(index, tf.int64)).numpy()


class TfRecordSource(Records):
    """The records that a pattern names; see the module for splits and order.

    Args:
      pattern: GLOB, possibly with `{split}`.
      split: Possibly sliced.
      image_key: Feature with the encoded image.
      label_key: Feature with the label as an integer; "": no labels.
      first_label: The number of the first class in the files (1 in some of ImageNet's).
      index_dir: Where tables of the records are kept; None: nowhere.
      rebuild: Read all files again.
      max_pixels: See `Encoded`.

    Raises:
      DataError: No such files or split, no record, or no such image feature; see also
        `open_shards`.
    """

    def __init__(
        self,
        pattern: str,
        split: Split,
        *,
        image_key: str = IMAGE_KEY,
        label_key: str = LABEL_KEY,
        first_label: int = 0,
        index_dir: str | None = None,
        rebuild: bool = False,
        max_pixels: int = MAX_PIXELS,
    ):
        def opened(paths: list[str]) -> list[Shard]:
            return open_shards(paths, label_key, index_dir=index_dir, rebuild=rebuild)

        shards = opened(_matching(pattern, split.name))
        labels, names, extra = _classes(shards, first_label)
        wanted = names
        other = SPLIT in pattern and role(split.name) != "train"
        if training := _first_of(pattern, "train") if other else []:
            _, wanted, _ = _classes(opened(training), first_label)
        self.class_names = wanted if len(wanted) > 1 else ()
        self.num_classes = len(self.class_names) or None
        labels = labels if self.class_names else np.full_like(labels, NO_LABEL)
        places = np.arange(len(labels))
        if SPLIT not in pattern:
            places = places[_keep(places, split.name)]
        if not len(places):
            raise DataError(
                nothing_held_out(pattern, len(labels))
                if len(labels)
                else message(
                    f"tfrecord:{pattern}", "at least one record", "other files"
                )
            )
        start, stop = split.bounds(len(places))
        places = places[start:stop]
        chosen, self.unknown_classes = renumbered(
            labels[places], (*names, *extra), wanted
        )
        ids = _ids(shards)[places]
        super().__init__(shards, places, image_key, chosen, ids, max_pixels)
        self.name = f"tfrecord:{pattern}/{split.text}"
        self._check_first()

    def _check_first(self) -> None:
        """Names the features that there are, where the image's is not one of them."""
        first = tf.constant(0, tf.int64)
        path, offset = self._paths(self._file_table(first)), self._offset_table(first)
        try:
            data = record(path, offset)
        except tf.errors.DataLossError:
            return  # a damaged record, which is skipped when it is met
        try:
            self._image(first)
        except tf.errors.OpError as error:
            example = tf.train.Example.FromString(data.numpy())
            there = ", ".join(sorted(example.features.feature)) or "none"
            raise DataError(
                message(
                    f"{self.where(0)} with the features {there} ({first_line(error)})",
                    f"the encoded image in {self._image_key}",
                    "tfrecord_image_key=NAME",
                )
            ) from error


def _glob(pattern: str) -> list[str]:
    """The files of a pattern in the order of their names, without what is beside."""

    def is_records(path: str) -> bool:
        name = os.path.basename(path)
        return not name.lower().endswith(_BESIDE) and not LEFTOVERS.fullmatch(name)

    return sorted(filter(is_records, tf.io.gfile.glob(pattern)))


def _first_of(pattern: str, split: str) -> list[str]:
    """The files of the first name of a split that has any."""
    for name in names_of(split) if SPLIT in pattern else ("",):
        if paths := _glob(pattern.replace(SPLIT, name)):
            return paths
    return []


def _matching(pattern: str, split: str) -> list[str]:
    if paths := _first_of(pattern, split):
        return paths
    names = names_of(split)[:4] if SPLIT in pattern else ("",)
    wanted = " or ".join(pattern.replace(SPLIT, name) for name in names)
    raise DataError(
        message(f"tfrecord:{pattern}, split {split}", f"files {wanted}", "another GLOB")
    )


def _keep(places: np.ndarray, split: str) -> np.ndarray:
    held_out = held_out_tenth(mixed(places, 0))
    if split == "all":
        return np.ones(len(places), bool)
    if role(split) == "train":
        return ~held_out
    if is_held_out(split):
        return held_out
    raise DataError(unknown("split", split, ["all", *SPELLINGS]))


def _ids(shards: list[Shard]) -> np.ndarray:
    """31 bits of the hash of the file's name, then 32 bits of the record's number."""
    taken: set[int] = set()
    parts = []
    for shard in shards:
        number = path_hash(os.path.basename(shard.path))[0] >> 32
        while number in taken:
            number = (number + 1) % 2**31
        taken.add(number)
        parts.append((number << 32) + np.arange(len(shard.offsets), dtype=np.int64))
    return np.concatenate(parts)


def _classes(
    shards: list[Shard], first_label: int
) -> tuple[np.ndarray, tuple[str, ...], tuple[str, ...]]:
    """Labels of all records, from 0; names of the classes; of those behind them."""
    stored = np.concatenate([shard.labels for shard in shards])
    labels = np.where(stored >= first_label, stored - first_label, NO_LABEL)
    count = int(labels.max(initial=NO_LABEL)) + 1
    names, extra = _names_beside(shards[0].path) if count else ((), ())
    if len(names) + len(extra) < count:
        names, extra = [str(number) for number in range(count)], ()
    return labels, tuple(names), tuple(extra)


def _names_beside(path: str) -> tuple[Sequence[str], Sequence[str]]:
    """What stands beside a file: its classes, and those that training lacks."""
    folder, name = os.path.split(path)

    def text(beside: str) -> str:
        file = os.path.join(folder, beside)
        if not tf.io.gfile.exists(file):
            return ""
        with tf.io.gfile.GFile(file, "rb") as opened:
            return opened.read().decode("utf-8-sig", "surrogateescape")

    if content := text(MANIFEST):
        manifest = json.loads(content)
        for split in manifest.get("splits", {}).values():
            if name in (file["file"] for file in split.get("files", ())):
                manifest |= {k: v for k, v in split.items() if k in _NAMES}
        return [manifest.get(key, []) for key in _NAMES]
    for beside in CLASS_FILES:
        if lines := list(filter(None, map(str.strip, text(beside).split("\n")))):
            return [re.sub(r"^\d+\s*:\s*", "", line) for line in lines], ()
    return (), ()


def open_tfrecord(
    argument: str, split: Split, options: SourceOptions
) -> TfRecordSource:
    """Opens `tfrecord:GLOB`.

    Raises:
      DataError: See `TfRecordSource`.
    """
    if not argument:
        raise DataError(
            message("dataset=tfrecord:", "tfrecord:GLOB", "tfrecord:data/{split}-*")
        )
    return TfRecordSource(
        dataset_name.located(argument, options.data_dir),
        split,
        image_key=options.tfrecord_image_key,
        label_key=options.tfrecord_label_key,
        first_label=options.tfrecord_first_label,
        index_dir=options.index_dir or cache_directory(),
        rebuild=options.rebuild_index,
        max_pixels=options.max_pixels,
    )
