"""Makes rows of training from positions in the stream: reads, decodes, cuts views."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from tfssl.augment import crops
from tfssl.augment.recipes import Recipe
from tfssl.core import seeds
from tfssl.data import handful
from tfssl.data.fetch import fetch
from tfssl.data.handful import Make, Row
from tfssl.data.source import Source


@dataclasses.dataclass(frozen=True)
class ViewRows:
    """What a row holds: `views` uint8 `[V, S, S, 3]`; `label`, `id`, `index` int64.

    Attributes:
      source: The data set.
      recipe: How to crop and flip.
      seed: The run's seed; with a row's position it decides the crops.
      image_size: Side S.
      report: False where the source cannot be told of unreadable examples.
      machine_code: Cut by `tfssl.augment.native`, which must be available.
    """

    source: Source
    recipe: Recipe
    seed: int
    image_size: int
    report: bool
    machine_code: bool = False

    def one(self, position: tf.Tensor, index: tf.Tensor) -> Row:
        """The row at a position, or one of the next readable example.

        Args:
          position: int64 scalar.
          index: int64 scalar, the example that stands there.

        Raises:
          tf.errors.OpError: See `fetch`.
        """
        return self._cut(position, **fetch(self.source, index, report=self.report))

    def some(self, position: tf.Tensor, index: tf.Tensor) -> Row:
        """The same for `[n]` positions, faster where an example may be unreadable."""
        return handful.rows(position, index, self._quick(), self.one)

    def _quick(self) -> Make:
        # Asked while a pipeline is being traced; the source reads a file at once, in
        # Python that is not for TensorFlow to rewrite.
        plainly = tf.autograph.experimental.do_not_convert
        with tf.init_scope():
            known = hasattr(self.source, "mostly_jpeg")
            jpeg = known and plainly(self.source.mostly_jpeg)()
        return self._jpeg if jpeg else self._plain

    def _plain(self, position: tf.Tensor, index: tf.Tensor) -> Row:
        return self._cut(position, **self.source.example(index), index=index)

    def _jpeg(self, position: tf.Tensor, index: tf.Tensor) -> Row:
        found = self.source.jpeg(index)
        data, shape = found.pop("data"), found.pop("shape")
        cuts = crops.draw(self.recipe, self._crop(position), shape[0], shape[1])
        how = self.recipe, self.image_size, self.machine_code
        views = crops.show_jpeg(data, shape, cuts, *how)
        return self._row(views, **found, index=index)

    def _cut(self, position: tf.Tensor, image: tf.Tensor, **numbers: tf.Tensor) -> Row:
        how = self._crop(position), self.image_size, self.machine_code
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
