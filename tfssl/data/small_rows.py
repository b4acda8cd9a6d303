"""Makes batches of small images in memory: looks them up, cuts them at once."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from tfssl.augment import matrix_views
from tfssl.augment.recipes import Recipe
from tfssl.core import seeds
from tfssl.data.handful import Row
from tfssl.data.memory import Decoded
from tfssl.data.source import Source


def is_small(source: Source, image_size: int) -> bool:
    """Whether views are cut a batch at a time: small images of one size, in memory."""
    shape = source.shape if isinstance(source, Decoded) else None
    return shape is not None and max(*shape[:2], image_size) <= matrix_views.LARGEST


@dataclasses.dataclass(frozen=True)
class SmallRows:
    """What a batch holds: as `ViewRows`, each with `[b]` in front.

    Attributes:
      source: The data set, `is_small`.
      recipe: How to crop and flip.
      seed: The run's seed.
      image_size: Side S.
      global_batch: Rows of a step over all replicas of all workers.
    """

    source: Decoded
    recipe: Recipe
    seed: int
    image_size: int
    global_batch: int

    def cut(self, position: tf.Tensor, index: tf.Tensor) -> Row:
        """The rows at positions `[b]` of one step, which show these examples."""
        step = position[0] // self.global_batch
        table = matrix_views.sample(
            self.recipe,
            seeds.step_seed(self.seed, "geometry", step),
            self.global_batch,
            *self.source.shape[:2],
        )
        own = position - step * self.global_batch
        table = {name: tf.gather(v, own, axis=1) for name, v in table.items()}
        example = self.source.examples(index)
        image = example.pop("image")
        views = matrix_views.views(image, table, self.recipe, self.image_size)
        return {"views": views, **_numbers(example, index)}

    def picked(self, position: tf.Tensor, index: tf.Tensor) -> Row:
        """The same rows for a device that has the images: `views` is `index`."""
        del position
        example = self.source.numbers(index)
        return {"views": tf.identity(index), **_numbers(example, index)}


def _numbers(example: Row, index: tf.Tensor) -> Row:
    return {
        name: tf.ensure_shape(value, index.shape)
        for name, value in {**example, "index": index}.items()
    }
