"""Geometry as the training step calls it, for a small data set on the device.

The host then sends nothing but numbers of examples (`augment.crops.ON_DEVICE`).
"""

from __future__ import annotations

import tensorflow as tf

from tfssl.augment import matrix_views
from tfssl.augment.recipes import Recipe
from tfssl.core import seeds, variables
from tfssl.train.photometric import first_row
from tfssl.train.replica_step import Photometric


def make_device_views(
    images: tf.Variable,
    recipe: Recipe,
    photometric: Photometric,
    *,
    seed: int,
    global_batch: int,
    replica_batch: int,
    image_size: int,
    micro_batches: int = 1,
) -> Photometric:
    """Makes crop, resize and flip in front of photometry, compiled by XLA.

    Every replica draws the crops of the whole global batch and keeps its rows. The
    views are those of `data.pipeline.training`, which cuts them on the host, but for
    single values halfway between two bytes.

    Args:
      images: The data set, uint8 `[n, H, W, 3]`, made in the strategy's scope, so that
        each device has its copy.
      recipe: How to crop and flip.
      photometric: Of `make_photometry` with the same numbers.
      seed: The run's seed.
      global_batch: Images of a step over all replicas.
      replica_batch: Images of a step on one replica.
      image_size: Side S of the views.
      micro_batches: Parts in which a replica sees them.

    Returns:
      Function of (a batch with `index`, the examples, int64 `[b]`; step; number of the
      micro batch) to what `photometric` makes of their views.
    """
    rows = replica_batch // micro_batches
    sides = images.shape[1:3]

    @tf.function(jit_compile=True, autograph=False)
    def cut(pixels, index, step, first):
        table = matrix_views.sample(
            recipe, seeds.step_seed(seed, "geometry", step), global_batch, *sides
        )
        own = {
            n: tf.slice(v, [0, first], [len(recipe.views), rows])
            for n, v in table.items()
        }
        return matrix_views.views(tf.gather(pixels, index), own, recipe, image_size)

    def views(batch, step, part=0):
        first = first_row(part, rows, global_batch // micro_batches)
        # An argument and not captured: the function is traced once, for all replicas.
        pixels = tf.convert_to_tensor(variables.raw(images))
        found = cut(pixels, batch["index"], step, first)
        return photometric({"views": found}, step, part)

    return views
