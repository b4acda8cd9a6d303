"""MoCo's comparison "end-to-end": the dictionary is the batch, keys have gradients."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfssl.core import collectives, seeds
from tfssl.losses import info_nce_batch, info_nce_batch_accuracy, moco_normalize
from tfssl.methods.base import Batch, StepOutput
from tfssl.methods.contrastive import Contrastive
from tfssl.methods.online_probe import with_probe
from tfssl.methods.shuffle import encode_shuffled


class EndToEnd(Contrastive):
    """InfoNCE whose keys are those of the batch (MoCo, section 3.2 and figure 2a).

    ::

        q = n(f(view 1)),  k = n(f(view 2))        one network f, a pass for each view
        loss = mean CE(q.k^T / T, own row)         over the keys of all replicas

    Gradients reach queries and keys, on every replica. The dictionary is as large as
    the global batch, N keys of which N - 1 are negatives; chance is `log(N)`. MoCo's
    paper shuffles the keys here too (section 3.3), see `encode_shuffled`.

    Args:
      encoder: Images `[b, S, S, 3]` to features `[b, F]`.
      projector: `[b, F]` to `[b, D]`.
      temperature: T > 0.
      symmetric: Add the loss with the views exchanged.
      shuffle: Shuffle the keys' rows before encoding.
      seed: The run's seed, for the shuffles.
      probe: Online classifier on the query's features, or None.
    """

    def __init__(
        self,
        encoder: keras.Model,
        projector: keras.Model,
        *,
        temperature: float,
        symmetric: bool = False,
        shuffle: bool = False,
        seed: int = 0,
        probe: keras.Model | None = None,
    ):
        super().__init__(encoder, projector, temperature, probe)
        self._symmetric = symmetric
        self._shuffle = shuffle
        self._seed = seed

    def loss(self, batch: Batch, step: tf.Tensor) -> StepOutput:
        """InfoNCE over the global batch; see the class."""
        return self.loss_of(self.embed(batch, step), batch.label, step)

    def embed(self, batch: Batch, step: tf.Tensor) -> dict[str, tf.Tensor]:
        """Queries, keys, and the queries' features if there is a probe."""
        view1, view2 = batch.views
        features = self.encoder(view1, training=True)
        query = moco_normalize(self._projector(features, training=True))
        found = {"query": query, "key": self._key(view2, step, "1")}
        if self._symmetric:
            # Not shuffled, a view's key is its query: one network.
            found["query2"] = self._encode(view2) if self._shuffle else found["key"]
            found["key2"] = self._key(view1, step, "2") if self._shuffle else query
        return found | ({"features": features} if self._probe else {})

    def loss_of(
        self, embedded: dict[str, tf.Tensor], label: tf.Tensor, step: tf.Tensor
    ) -> StepOutput:
        """InfoNCE and the probe's loss; see the class."""
        del step
        loss, accuracy = self._direction(embedded["query"], embedded["key"])
        if self._symmetric:
            loss += self._direction(embedded["query2"], embedded["key2"])[0]
        scalars = {"info_nce": loss, "contrastive_accuracy": accuracy}
        features = embedded.get("features")
        return StepOutput(*with_probe(loss, scalars, self._probe, features, label))

    def _direction(self, query: tf.Tensor, key: tf.Tensor) -> tuple:
        settings = {
            "key_all": collectives.gather(key),
            "offset": collectives.replica_id() * key.shape[0],
            "normalize": False,
        }
        each = info_nce_batch(query, key, temperature=self._temperature, **settings)
        return tf.reduce_mean(each), info_nce_batch_accuracy(query, key, **settings)

    def _encode(self, view: tf.Tensor) -> tf.Tensor:
        features = self.encoder(view, training=True)
        return moco_normalize(self._projector(features, training=True))

    def _key(self, view: tf.Tensor, step: tf.Tensor, pass_name: str) -> tf.Tensor:
        if not self._shuffle:
            return self._encode(view)
        seed = seeds.step_seed(self._seed, f"shuffle{pass_name}", step)
        return encode_shuffled(self._encode, view, seed)
