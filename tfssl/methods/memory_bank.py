"""MoCo's comparison "memory bank": keys are drawn from features of earlier steps."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfssl.core import collectives
from tfssl.losses import info_nce, info_nce_accuracy, moco_normalize
from tfssl.methods.base import Batch, StepOutput
from tfssl.methods.contrastive import Contrastive
from tfssl.methods.feature_bank import FeatureBank
from tfssl.methods.online_probe import with_probe


class MemoryBank(Contrastive):
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
      encoder: Images `[b, S, S, 3]` to features `[b, F]`.
      projector: `[b, F]` to `[b, D]`.
      bank: The features.
      temperature: T > 0; 0.07.
      probe: Online classifier on view 1, or None.
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
        super().__init__(encoder, projector, temperature, probe)
        self._bank = bank

    def loss(self, batch: Batch, step: tf.Tensor) -> StepOutput:
        """InfoNCE against features drawn from the bank; see the class."""
        features = self.encoder(batch.views[0], training=True)
        query = moco_normalize(self._projector(features, training=True))
        drawn = self._bank.draw(step)
        settings = {
            "normalize": False,
            "left_out": batch.index[:, None] == drawn[None, :],
        }
        keys = self._bank.of(batch.index), self._bank.of(drawn)
        each = info_nce(query, *keys, temperature=self._temperature, **settings)
        loss = tf.reduce_mean(each)
        accuracy = info_nce_accuracy(query, *keys, **settings)
        scalars = {"info_nce": loss, "contrastive_accuracy": accuracy}
        done = with_probe(loss, scalars, self._probe, features, batch.label)
        seen = collectives.gather(batch.index), collectives.gather(query)
        return StepOutput(*done, tuple(tf.stop_gradient(x) for x in seen))

    def after_update(self, step: tf.Tensor, aux: tuple[tf.Tensor, tf.Tensor]) -> None:
        """Moves the features of the global batch's images."""
        del step
        self._bank.move(*aux)

    def checkpoint_items(self) -> dict[str, tf.Variable]:
        """Encoder, projector, probe, BatchNorm statistics, and the bank."""
        return super().checkpoint_items() | {"bank/features": self._bank.features}
