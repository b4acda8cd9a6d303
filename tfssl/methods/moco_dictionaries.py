"""The two dictionaries that MoCo's paper compares its queue with (figure 2a and b)."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfssl.core import collectives, seeds
from tfssl.errors import ConfigError, message
from tfssl.losses import (
    info_nce,
    info_nce_accuracy,
    info_nce_batch,
    info_nce_batch_accuracy,
    moco_normalize,
)
from tfssl.methods.base import Batch, Setup, StepOutput
from tfssl.methods.moco import Dictionary, networks


class EndToEnd(Dictionary):
    """InfoNCE whose keys are those of the batch (MoCo, section 3.2 and figure 2a).

    ::

        q = n(f(view 1)),  k = n(f(view 2))        one network f, a pass for each view
        loss = mean CE(q.k^T / T, own row)         over the keys of all replicas

    Gradients reach queries and keys, on every replica. The dictionary is as large as
    the global batch, N keys of which N - 1 are negatives; chance is `log(N)`. MoCo's
    paper shuffles the keys here too (section 3.3), see `encode_shuffled`.
    """

    def loss(self, batch: Batch, step: tf.Tensor) -> StepOutput:
        """InfoNCE over the global batch; see the class."""
        return self.loss_of(self.embed(batch, step), batch.label, step)

    def embed(self, batch: Batch, step: tf.Tensor) -> dict[str, tf.Tensor]:
        """Queries, keys, and the queries' features if there is a probe."""
        view1, view2 = batch.views
        features, query = self.query(view1)
        found = {"query": query, "key": self.key(self._encode, view2, step, "1")}
        if self.symmetric and self.shuffle:
            found["query2"] = self._encode(view2)
            found["key2"] = self.key(self._encode, view1, step, "2")
        elif self.symmetric:
            # Not shuffled, a view's key is its query: one network.
            found |= {"query2": found["key"], "key2": query}
        return found | ({"features": features} if self.probe else {})

    def loss_of(
        self, embedded: dict[str, tf.Tensor], label: tf.Tensor, step: tf.Tensor
    ) -> StepOutput:
        """InfoNCE and the probe's loss; see the class."""
        loss, accuracy = self._direction(embedded["query"], embedded["key"])
        if self.symmetric:
            loss += self._direction(embedded["query2"], embedded["key2"])[0]
        return self.found(loss, accuracy, embedded.get("features"), label)

    def _encode(self, view: tf.Tensor) -> tf.Tensor:
        return self.query(view)[1]

    def _direction(self, query: tf.Tensor, key: tf.Tensor) -> tuple:
        settings = {
            "key_all": collectives.gather(key),
            "offset": collectives.replica_id() * key.shape[0],
            "normalize": False,
        }
        each = info_nce_batch(query, key, temperature=self._temperature, **settings)
        return tf.reduce_mean(each), info_nce_batch_accuracy(query, key, **settings)


class MemoryBank(Dictionary):
    """InfoNCE against a memory bank (MoCo, figure 2b; Wu et al. 2018, 1805.01978).

    One step::

        q = n(f(view 1))
        loss = mean CE([q.v_own | q.V] / T, 0)     V: K features drawn from the bank
        v_own <- n(m * v_own + (1 - m) * q)        after the update

    The positive is the image's own feature of the last time it was seen, so there is no
    key encoder, no gradient into keys, nothing to shuffle (section 3.3), and view 2 is
    not looked at. As MoCo's paper does for its comparison, this takes InfoNCE where Wu
    et al. take NCE. A draw of the query's own image is left out of its negatives; Wu et
    al. leave it in, which matters where K is not small beside the data set.

    Args:
      encoder, projector: As in `Dictionary`.
      bank: The features.
      temperature, probe: As in `Dictionary`; T = 0.07.
    """

    def __init__(
        self,
        encoder: keras.Model,
        projector: keras.Model,
        bank: FeatureBank,
        *,
        temperature: float,
        probe: keras.Model | None = None,
    ):
        super().__init__(encoder, projector, temperature=temperature, probe=probe)
        self.bank = bank

    def buffers(self) -> dict[str, tf.Variable]:
        """The features of all images."""
        return {"bank/features": self.bank.features}

    def loss(self, batch: Batch, step: tf.Tensor) -> StepOutput:
        """InfoNCE against features drawn from the bank; see the class."""
        features, query = self.query(batch.views[0])
        drawn = self.bank.draw(step)
        settings = {
            "normalize": False,
            "left_out": batch.index[:, None] == drawn[None, :],
        }
        keys = self.bank.of(batch.index), self.bank.of(drawn)
        each = info_nce(query, *keys, temperature=self._temperature, **settings)
        loss = tf.reduce_mean(each)
        accuracy = info_nce_accuracy(query, *keys, **settings)
        seen = collectives.gather(batch.index), collectives.gather(query)
        return self.found(loss, accuracy, features, batch.label, seen)

    def after_update(self, step: tf.Tensor, aux: tuple[tf.Tensor, tf.Tensor]) -> None:
        """Moves the features of the global batch's images."""
        self.bank.move(*aux)


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
                    f"queue_size={drawn} with {examples} training images",
                    "for dictionary=bank at most as many keys as images",
                    f"queue_size={examples}",
                )
            )
        self._examples = examples
        self._drawn = drawn
        self.momentum = momentum
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
        moved = self.momentum * self.of(index) + (1.0 - self.momentum) * new
        self.features.scatter_update(tf.IndexedSlices(moco_normalize(moved), index))


def build_end_to_end(flags: Any, setup: Setup) -> EndToEnd:
    """Makes `--dictionary=batch` from MoCo's flags."""
    encoder, projector = networks(flags, setup)
    return EndToEnd(
        encoder,
        projector,
        temperature=flags.temperature,
        symmetric=flags.symmetric,
        shuffle=setup.batch_norm_groups > 1,
        seed=setup.seed,
        probe=setup.probe(encoder.output_shape[-1]),
    )


def build_memory_bank(flags: Any, setup: Setup) -> MemoryBank:
    """Makes `--dictionary=bank` from MoCo's flags."""
    encoder, projector = networks(flags, setup)
    bank = FeatureBank(
        setup.examples,
        flags.projector_dim,
        drawn=flags.queue_size,
        momentum=flags.ema_momentum,
        seed=setup.seed,
    )
    return MemoryBank(
        encoder,
        projector,
        bank,
        temperature=flags.temperature,
        probe=setup.probe(encoder.output_shape[-1]),
    )
