"""The augmented views of a few training images, as pictures to look at."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfssl.config import Config
from tfssl.data import Source, training
from tfssl.modes import assemble
from tfssl.train import make_photometry

VIEWS = 8
"""Images in the strip."""


def view_strip(config: Config, source: Source) -> np.ndarray:
    """The views of step 0 as training sees them, before normalisation.

    Returns:
      uint8 `[VIEWS, 2, S, S, 3]`.
    """
    recipe = assemble.recipe(config)
    count = min(VIEWS, source.num_examples)
    batch = next(
        iter(
            training(
                source,
                recipe,
                seed=config.seed,
                start_step=0,
                global_batch=count,
                replica_batch=count,
                image_size=config.image_size,
            )
        )
    )
    photometric = make_photometry(
        recipe, seed=config.seed, global_batch=count, replica_batch=count
    )
    views = np.stack(
        [v.numpy() for v in photometric(batch["views"], tf.constant(0))], 1
    )
    if recipe.mean is not None:
        views = views * np.asarray(recipe.std) + np.asarray(recipe.mean)
    return np.clip(np.round(views * 255), 0, 255).astype(np.uint8)
