"""`tfds:NAME`: a data set that TensorFlow Datasets has prepared on this machine.

Nothing is downloaded. The encoded images are kept in memory as they are in the files
when they fit a budget; beyond it they are read on demand: array_record by its own
index, TFRecord by a table of where the records begin. The order is that of the files,
and any example can be asked for at any time, so a worker reads its own rows only.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tfssl.config.remote import cache_directory
from tfssl.core import runtime
from tfssl.core.python_calls import python_call
from tfssl.data.encoded import Encoded
from tfssl.data.formats import MAX_PIXELS
from tfssl.data.host_table import Numbers, Texts
from tfssl.data.source import Several, Source, SourceOptions, first_line
from tfssl.data.splits import Split
from tfssl.data.tfrecord_index import open_shards
from tfssl.data.tfrecord_source import Records
from tfssl.errors import DataError, NotPreparedError, message, unknown

MASKS = ("segmentation_mask", "segmentation_label", "annotation", "mask")
"""Names by which the mask of a data set is known."""
PANOPTIC = ("panoptic_image", "panoptic_objects")
"""Features of a mask of segments, and of what these are."""

MEMORY = 4 * 2**30  # bytes of encoded images
_EASY = "_no_difficult"


class TfdsSource(Encoded):
    """A prepared data set with one image per example.

    The label is that of the data set's supervised pair, or its only class label;
    others have none, but for a sequence of class labels: several labels an image. One
    with another of its name and `_no_difficult`, as in VOC, tells what not to ask.
    `id` is the example's number in its split, plus 2**40 for each split before it in
    alphabetical order.

    Args:
      name: `NAME`, `NAME/CONFIG` or `NAME:VERSION`.
      split: A split of the data set, possibly sliced.
      data_dir: Where it was prepared; None: the default of TensorFlow Datasets.
      memory: Bytes of encoded images that may be kept in memory.
      index_dir: Where tables of the records of large TFRecord sets are kept.
      rebuild: Make these tables anew.
      max_pixels: See `Encoded`.

    Raises:
      DataError: tensorflow-datasets is not installed, the data set is unknown, or has
        no such split or no image.
      NotPreparedError: The data set is not on this machine.
    """

    def __init__(
        self,
        name: str,
        split: Split,
        *,
        data_dir: str | None,
        memory: int = MEMORY,
        index_dir: str | None = None,
        rebuild: bool = False,
        max_pixels: int = MAX_PIXELS,
    ):
        super().__init__(max_pixels)
        tfds = _import_tfds()
        builder = _prepared(tfds, name, data_dir)
        splits = builder.info.splits
        if split.name not in splits:
            raise DataError(unknown(f"split of tfds:{name}", split.name, splits))
        info = splits[split.name]
        start, stop = split.bounds(info.num_examples)
        self.name = f"tfds:{name}/{split.text}"
        self.num_examples = stop - start
        image, label = _features(tfds, builder.info, name)
        sequences = {} if label else _sequences(tfds, builder.info)
        classes = builder.info.features[label].num_classes if label else None
        self.num_classes = classes
        self.class_names = (
            tuple(builder.info.features[label].names or map(str, range(classes)))
            if label
            else ()
        )
        self._first_id = start + 2**40 * sorted(splits).index(split.name)
        self.ids = np.arange(self.num_examples, dtype=np.int64) + self._first_id
        part = tfds.core.ReadInstruction(split.name, from_=start, to=stop, unit="abs")
        self._builder, self._part = builder, part
        size = info.num_bytes * self.num_examples / max(info.num_examples, 1)
        keys = [key for key in (image, label, *sequences) if key]
        rows = _rows(tfds, builder, part, keys)
        self._rows, self._records, self._keys = None, None, (image, label)
        if sequences:
            self.several = _several(sequences, rows, self.num_examples)
            rows = _rows(tfds, builder, part, keys)
        if size <= memory:
            pairs = [
                (bytes(row[image]), int(row[label]) if label else -1) for row in rows
            ]
            self.labels = np.array([number for _, number in pairs], np.int64)
            self._images = Texts([data for data, _ in pairs])
            self._label_table = Numbers(self.labels)
        elif hasattr(rows, "__getitem__"):
            self._rows = rows
        else:
            paths = list(map(str, info.filepaths))
            shards = open_shards(
                paths, label or "", index_dir=index_dir, rebuild=rebuild
            )
            places = np.arange(start, stop)
            self.labels = np.concatenate([shard.labels for shard in shards])[places]
            self._records = Records(
                shards, places, image, self.labels, self.ids, max_pixels
            )

    @functools.cached_property
    def labels(self) -> np.ndarray:
        """See `Source.labels`; beyond the memory budget this reads everything once."""
        label = self._keys[1]
        if label is None:
            return np.full(self.num_examples, -1, np.int64)
        return np.array([int(row[label]) for row in self._rows], np.int64)

    def encoded(self, index: tf.Tensor) -> dict[str, tf.Tensor]:
        """See `Encoded.encoded`."""
        if self._records is not None:
            return self._records.encoded(index)
        if self._rows is None:
            data, label = self._images(index), self._label_table(index)
        else:
            data, label = python_call(
                self._read, [index], [tf.string, tf.int64], stateful=False
            )
            data, label = tf.ensure_shape(data, []), tf.ensure_shape(label, [])
        return {"data": data, "label": label, "id": index + self._first_id}

    def _read(self, index: int) -> tuple[bytes, np.int64]:
        image, label = self._keys
        row = self._rows[int(index)]
        return row[image], np.int64(row[label] if label else -1)

    def rows_of(self, *keys: str, split: str = "") -> Iterator[tuple[Any, ...]]:
        """Some features of every example; images as their files' bytes.

        Args:
          *keys: Of the features.
          split: A whole split; empty: the examples of this source.
        """
        tfds = _import_tfds()
        part = tfds.core.ReadInstruction(split) if split else self._part
        for row in _rows(tfds, self._builder, part, [*keys]):
            yield tuple(row[key] for key in keys)

    @property
    def image_key(self) -> str:
        """The feature that is the image."""
        return self._keys[0]

    @property
    def features(self) -> dict[str, Any]:
        """What an example of the data set has, by name."""
        return dict(self._builder.info.features)

    @property
    def targets(self) -> dict[str, str]:
        """What examples have beside a label: `"boxes"`, `"mask"` to the feature."""
        features, found = self.features, {}
        for key in sorted(features, key=lambda key: key != "objects"):
            inside = getattr(features[key], "feature", None)
            if hasattr(inside, "keys") and {"bbox", "label"} <= set(inside.keys()):
                found.setdefault("boxes", key)
        whole = PANOPTIC[:1] if {*PANOPTIC} <= features.keys() else MASKS
        masks = [key for key in whole if key in features]
        return found | ({"mask": masks[0]} if masks else {})

    @property
    def splits(self) -> dict[str, int]:
        """How many examples each of the data set's splits has."""
        return {n: s.num_examples for n, s in self._builder.info.splits.items()}

    def where(self, index: int) -> str:
        """The data set, and the number in the split."""
        return f"{self.name} number {index}"

    def read(self, index: int) -> bytes:
        """See `Encoded.read`."""
        if self._records is not None:
            return self._records.read(index)
        return self._images.at(index) if self._rows is None else self._read(index)[0]


def _import_tfds() -> Any:
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise DataError(
            message(
                f"dataset=tfds:… without tensorflow-datasets ({error})",
                "the package installed",
                "pip install tensorflow-datasets",
            )
        ) from error
    from tensorflow_datasets.core.utils import gcs_utils

    # Versions before 4.9.8 ask Google Cloud Storage for every data set they open.
    gcs_utils._is_gcs_disabled = True
    return tfds


def _prepared(tfds: Any, name: str, data_dir: str | None) -> Any:
    """The builder of a data set whose files are there."""
    if data_dir:
        data_dir = os.path.expanduser(data_dir)
    try:
        builder = tfds.builder(name, data_dir=data_dir, try_gcs=False)
    except (ValueError, AttributeError, TypeError) as error:
        # TFDS appends the list of more than a thousand names; the first line is enough.
        raise DataError(
            message(
                f"dataset=tfds:{name} ({first_line(error)})",
                "a name, NAME/CONFIG or NAME:VERSION that TensorFlow Datasets knows, "
                f"or one prepared in {data_dir or 'its default directory'}",
                "https://www.tensorflow.org/datasets/catalog",
            )
        ) from error
    if not builder.info.splits:
        option = f" data_dir={data_dir}" if data_dir else ""
        raise NotPreparedError(
            message(
                f"dataset=tfds:{name}, not prepared in {builder.data_dir}",
                "its files, since nothing is downloaded here",
                f"tfds build {name}{option}",
            )
        )
    return builder


def _features(tfds: Any, info: Any, name: str) -> tuple[str, str | None]:
    """The names of the image and of the class label (None: no label)."""
    features = dict(info.features)
    of_kind = {
        kind: [key for key, value in features.items() if isinstance(value, kind)]
        for kind in (tfds.features.Image, tfds.features.ClassLabel)
    }
    images, labels = of_kind.values()
    if not images:
        raise DataError(
            message(
                f"tfds:{name} with the features {', '.join(features)}",
                "an image among them",
                "an image data set",
            )
        )
    pair = info.supervised_keys or (None, None)
    image = pair[0] if pair[0] in images else images[0]
    if pair[1] in labels:
        return image, pair[1]
    return image, labels[0] if len(labels) == 1 else None


def _sequences(tfds: Any, info: Any) -> dict[str, Any]:
    """The feature with several class labels, and the one without difficult ones."""
    found = {
        key: value.feature
        for key, value in info.features.items()
        if isinstance(value, tfds.features.Sequence)
        and isinstance(value.feature, tfds.features.ClassLabel)
    }
    plain = [key for key in found if not key.endswith(_EASY)]
    if len(plain) != 1:
        return {}
    wanted = (plain[0], plain[0] + _EASY)
    return {key: found[key] for key in wanted if key in found}


def _several(sequences: dict[str, Any], rows: Any, count: int) -> Several:
    every, easy = [*sequences][0], [*sequences][-1]
    feature = sequences[every]
    targets = np.zeros((count, feature.num_classes), np.int8)
    for target, row in zip(targets, rows, strict=True):
        target[np.asarray(row[every], np.int64)] = -1
        target[np.asarray(row[easy], np.int64)] = 1
    names = feature.names or map(str, range(feature.num_classes))
    return Several(targets, tuple(names))


def _rows(tfds: Any, builder: Any, part: Any, keys: list[str]) -> Any:
    """The examples in order, images still encoded; indexable where files allow it.

    Args:
      tfds: The package.
      builder: Of the data set.
      part: Which examples.
      keys: Features to read; images stay encoded.
    """
    skip = {
        key: tfds.decode.SkipDecoding()
        for key, feature in builder.info.features.items()
        if isinstance(feature, tfds.features.Image)
    }
    try:
        return builder.as_data_source(part, decoders=skip)
    except NotImplementedError:  # tfrecord
        decoders = tfds.decode.PartialDecoding(
            dict.fromkeys(keys, True),
            decoders={key: how for key, how in skip.items() if key in keys},
        )
        # Shards one after the other: the order of the files, on every machine.
        config = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
        records = builder.as_dataset(
            split=part, decoders=decoders, read_config=config, shuffle_files=False
        )
        return runtime.on_all_cores(records).as_numpy_iterator()


def open_tfds(argument: str, split: Split, options: SourceOptions) -> Source:
    """Opens `tfds:NAME`; `data_dir` is where TensorFlow Datasets prepared it.

    Raises:
      DataError: See `TfdsSource`.
    """
    if not argument:
        raise DataError(message("dataset=tfds:", "tfds:NAME", "dataset=tfds:cifar10"))
    how = {
        "data_dir": options.data_dir,
        "index_dir": options.index_dir or cache_directory(),
        "rebuild": options.rebuild_index,
        "max_pixels": options.max_pixels,
    }
    if options.targets == "mask":
        from tfssl.data.tfds_masks import open_with_masks

        return open_with_masks(argument, split, orient=options.orient, **how)
    if options.targets == "boxes":
        from tfssl.data.tfds_boxes import TfdsBoxes

        return TfdsBoxes(argument, split, **how)
    return TfdsSource(argument, split, **how)
