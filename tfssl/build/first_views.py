"""The augmented views of a few training images, as pictures to look at."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfssl.augment import Recipe
from tfssl.data import Source, training
from tfssl.train import make_photometry

VIEWS = 8
"""Images that TensorBoard and the report show."""


class FirstViews(NamedTuple):
    """The views of a few images.

    Attributes:
      views: uint8 `[images, V, S, S, 3]`.
      cut: Before photometry, of the same shape.
      ids: Of the examples that they show, int64 `[images]`.
    """

    views: np.ndarray
    cut: np.ndarray
    ids: np.ndarray


def first_views(
    source: Source, recipe: Recipe, *, seed: int, images: int, image_size: int
) -> FirstViews:
    """What a run whose global batch were so small would see at step 0.

    Args:
      source: The data set.
      recipe: How to draw the views.
      seed: The run's seed.
      images: How many; fewer where the source has no more.
      image_size: Side S.
    """
    count = min(images, source.num_examples)
    settings = {"seed": seed, "global_batch": count, "replica_batch": count}
    batch = next(
        iter(training(source, recipe, start_step=0, image_size=image_size, **settings))
    )
    photometric = make_photometry(recipe, **settings)
    views = np.stack([v.numpy() for v in photometric(batch, tf.constant(0))], 1)
    pixels = np.round(views * 255).astype(np.uint8)
    return FirstViews(pixels, batch["views"].numpy(), batch["id"].numpy())
