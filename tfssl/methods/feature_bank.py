"""The memory bank's storage: one feature per training image, equal on every replica."""

from __future__ import annotations

import tensorflow as tf

from tfssl.core import seeds
from tfssl.errors import ConfigError, message
from tfssl.losses import moco_normalize


class FeatureBank:
    """A normalised feature of every training image (Wu et al. 2018, section 3).

    `v <- n(m * v + (1 - m) * f)` for the images of a step, f being their new features.
    Needs `4 * examples * dim` bytes on every device, 656 MB for ImageNet with dim 128.
    Starts with normalised Gaussian rows, as MoCo's queue does.

    Args:
      examples: Number of training images.
      dim: D, dimensions of a feature.
      drawn: K, features that are the dictionary of one step.
      momentum: m in [0, 1]; 0.5.
      seed: The run's seed.

    Raises:
      ConfigError: `drawn` is more than there are images.
    """

    def __init__(
        self, examples: int, dim: int, *, drawn: int, momentum: float, seed: int
    ):
        if drawn > examples:
            raise ConfigError(
                message(
                    f"--queue_size={drawn} with {examples} training images",
                    "for --dictionary=bank at most as many keys as images",
                    f"--queue_size={examples}",
                )
            )
        self._examples = examples
        self._drawn = drawn
        self._momentum = momentum
        self._seed = seed
        start = tf.random.stateless_normal(
            [examples, dim], seeds.step_seed(seed, "bank", 0)
        )
        self.features = tf.Variable(
            tf.math.l2_normalize(start, -1), trainable=False, name="bank"
        )

    def draw(self, step: tf.Tensor) -> tf.Tensor:
        """The images whose features are this step's dictionary.

        One dictionary for the whole batch (He et al. 2020, section 3.2), uniform with
        replacement as Wu et al. draw theirs.

        Args:
          step: int64 scalar; the draw is a function of seed and step.

        Returns:
          int64 `[K]`, equal on every replica.
        """
        seed = seeds.step_seed(self._seed, "bank", step + 1)
        return tf.random.stateless_uniform(
            [self._drawn], seed, 0, self._examples, tf.int64
        )

    def of(self, index: tf.Tensor) -> tf.Tensor:
        """Features `[n, D]` of images `[n]`, without gradient."""
        return tf.stop_gradient(tf.gather(self.features, index))

    def move(self, index: tf.Tensor, features: tf.Tensor) -> None:
        """Moves the features of the images just seen.

        A batch may hold an image twice, at the end of one epoch and the beginning of
        the next: its first row counts, so that the result has no order of writing.

        Args:
          index: int64 `[n]`, images of the global batch, equal on every replica.
          features: `[n, D]`, normalised, likewise.
        """
        rows = tf.range(index.shape[0])
        same = index[:, None] == index[None, :]
        first = tf.reduce_min(tf.where(same, rows[None, :], rows[-1]), axis=1)
        new = tf.cast(tf.gather(features, first), self.features.dtype)
        moved = self._momentum * self.of(index) + (1.0 - self._momentum) * new
        self.features.scatter_update(tf.IndexedSlices(moco_normalize(moved), index))
