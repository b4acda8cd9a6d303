"""TensorBoard's files: scalars, view strip, projector; without its package."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
from PIL import Image

from tfssl.core.paths import AnyPath, write_whole
from tfssl.show.report import ReportData

_LOGGER = logging.getLogger(__name__)


def _metadata(plugin: str) -> tf.compat.v1.SummaryMetadata:
    # tf.summary.scalar and .image live in the package `tensorboard`, which TensorFlow
    # no longer brings along; the file format needs no more than this.
    data = tf.compat.v1.SummaryMetadata.PluginData(plugin_name=plugin)
    return tf.compat.v1.SummaryMetadata(plugin_data=data)


class ScalarWriter:
    """Writes log rows as TensorBoard scalars.

    Args:
      folder: `run_dir/tensorboard`.
      shown: False writes nothing (`--notensorboard`).
    """

    def __init__(self, folder: AnyPath, *, shown: bool):
        self._writer = (
            tf.summary.create_file_writer(str(folder))
            if shown
            else tf.summary.create_noop_writer()
        )

    def progress(self, row: dict[str, float]) -> None:
        """Leaves what is between the rows to the bar."""

    def row(self, row: dict[str, float]) -> None:
        """Writes every number of a row at its step."""
        metadata = _metadata("scalars")
        with _or_warning(), self._writer.as_default():
            for name, value in row.items():
                if name != "step":
                    number = tf.constant(value, tf.float32)
                    tf.summary.write(name, number, int(row["step"]), metadata)

    def write_views(self, views: np.ndarray) -> None:
        """Writes augmented views, one image a row, as TensorBoard images of step 0.

        Args:
          views: uint8 `[n, V, S, S, 3]`.
        """
        size = tf.constant([str(views.shape[2])] * 2)
        pictures = [tf.io.encode_png(np.concatenate(row, 1)) for row in views]
        with _or_warning(), self._writer.as_default():
            parts = tf.concat([size, tf.stack(pictures)], 0)
            tf.summary.write("views", parts, 0, _metadata("images"))

    def __enter__(self) -> ScalarWriter:
        return self

    def __exit__(self, *_: object) -> None:
        with _or_warning():
            self._writer.close()


@contextlib.contextmanager
def _or_warning() -> Iterator[None]:
    """A full disk costs TensorBoard some points, never the run."""
    try:
        yield
    except tf.errors.OpError as error:
        _LOGGER.warning("TensorBoard: %s", error)


_PROJECTOR = """\
embeddings {{
  tensor_name: "features"
  tensor_path: "features.tsv"
  metadata_path: "labels.tsv"
  sprite {{
    image_path: "sprite.png"
    single_image_dim: {side}
    single_image_dim: {side}
  }}
}}
"""


def write_projector(folder: AnyPath, data: ReportData) -> None:
    """Writes held-out features, labels and thumbnails for the embedding projector.

    Args:
      folder: `run_dir/tensorboard`.
      data: With `features` `[n, F]`, `labels` and `images` `[n, S, S, 3]`.
    """
    side = data.images.shape[1]
    across = int(np.ceil(np.sqrt(len(data.images))))
    sprite = np.zeros([across * side, across * side, 3], np.uint8)
    for i, image in enumerate(data.images):
        y, x = divmod(i, across)
        sprite[y * side : (y + 1) * side, x * side : (x + 1) * side] = image
    picture, table = io.BytesIO(), io.BytesIO()
    Image.fromarray(sprite).save(picture, "png")
    np.savetxt(table, data.features, "%.5g", "\t")
    names = [
        data.class_name(data.label_of(i)) or "none" for i in range(len(data.labels))
    ]
    for name, content in (
        ("sprite.png", picture.getvalue()),
        ("features.tsv", table.getvalue()),
        ("labels.tsv", "\n".join(names) + "\n"),
        ("projector_config.pbtxt", _PROJECTOR.format(side=side)),
    ):
        write_whole(folder / name, content)
