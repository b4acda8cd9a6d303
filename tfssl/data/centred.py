"""Every example as its centre, as evaluation sees it: views without any chance."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfssl.augment import geometry
from tfssl.augment.recipes import EvalTransform
from tfssl.data.source import Source
from tfssl.data.subset import Subset


class Centred(Subset):
    """A source whose images are cut and resized, `[size, size, 3]` bytes.

    Args:
      base: The source.
      transform: How to crop and resize.
      size: Side in pixels.
    """

    def __init__(self, base: Source, transform: EvalTransform, size: int):
        super().__init__(base, base.num_examples, lambda i: i, "centres")
        self._transform, self._size = transform, size

    def example(self, index: tf.Tensor) -> dict[str, tf.Tensor]:
        """See `Source.example`."""
        found = super().example(index)
        image = geometry.eval_image(found["image"], self._transform, self._size)
        image = tf.cast(tf.round(image * np.float32(255)), tf.uint8)
        return {**found, "image": image}
