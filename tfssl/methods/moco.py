"""MoCo: a query finds its key among a queue of keys from a slowly moving encoder."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfssl.core import collectives, seeds
from tfssl.losses import info_nce, info_nce_accuracy, moco_normalize
from tfssl.methods.base import Batch, StepOutput
from tfssl.methods.contrastive import Contrastive
from tfssl.methods.key_network import KeyNetwork
from tfssl.methods.key_queue import KeyQueue
from tfssl.methods.online_probe import with_probe
from tfssl.methods.shuffle import encode_shuffled


class MoCo(Contrastive):
    """MoCo v1 and v2 (He et al. 2020, Chen et al. 2020; facebookresearch `moco/`).

    One step, in the order of `moco/builder.py`::

        key encoder <- m * key encoder + (1 - m) * query encoder     before the forward
        q = n(f_q(view 1)),  k = n(f_k(view 2))                      k without gradient
        loss = mean CE([q.k | q.queue] / T, 0)
        queue <- k of all replicas                                   after the logits

    With `shuffle` the keys are encoded by `encode_shuffled`. It needs BatchNorm in
    groups (`--batch_norm_groups`): with statistics of the whole batch it changes
    nothing. `EndToEnd` and `MemoryBank` are the paper's two other dictionaries.

    Args:
      encoder: Query encoder, images `[b, S, S, 3]` to features `[b, F]`.
      projector: `[b, F]` to `[b, D]`.
      key_network: Follows both; m = 0.999.
      queue: The dictionary.
      temperature: T > 0; 0.07 (v1), 0.2 (v2), 0.1 (CIFAR demo).
      symmetric: Also predict view 1's key from view 2, add both losses, and enqueue
        both sets of keys (the authors' CIFAR demo).
      shuffle: Shuffle the keys' rows before encoding.
      seed: The run's seed, for the shuffles.
      probe: Online classifier on the query's features, or None.
    """

    def __init__(
        self,
        encoder: keras.Model,
        projector: keras.Model,
        key_network: KeyNetwork,
        queue: KeyQueue,
        *,
        temperature: float,
        symmetric: bool = False,
        shuffle: bool = False,
        seed: int = 0,
        probe: keras.Model | None = None,
    ):
        super().__init__(encoder, projector, temperature, probe)
        self._key_network = key_network
        self._queue = queue
        self._symmetric = symmetric
        self._shuffle = shuffle
        self._seed = seed

    def before_forward(self, step: tf.Tensor) -> None:
        """Moves the key encoder towards the query weights of the last update."""
        del step
        self._key_network.move()

    def loss(self, batch: Batch, step: tf.Tensor) -> StepOutput:
        """InfoNCE against the queue; see the class."""
        view1, view2 = batch.views
        queue = tf.stop_gradient(tf.convert_to_tensor(self._queue.keys))
        features, query = self._query(view1)
        key = self._key(view2, step, "1")
        settings = {"temperature": self._temperature, "normalize": False}
        loss = tf.reduce_mean(info_nce(query, key, queue, **settings))
        accuracy = info_nce_accuracy(query, key, queue, normalize=False)
        keys = [key]
        if self._symmetric:
            _, query2 = self._query(view2)
            key2 = self._key(view1, step, "2")
            loss += tf.reduce_mean(info_nce(query2, key2, queue, **settings))
            keys = [key2, key]
        scalars = {"info_nce": loss, "contrastive_accuracy": accuracy}
        done = with_probe(loss, scalars, self._probe, features, batch.label)
        aux = tuple(tf.stop_gradient(collectives.gather(k)) for k in keys)
        return StepOutput(*done, aux)

    def after_update(self, step: tf.Tensor, aux: tuple[tf.Tensor, ...]) -> None:
        """Enqueues the keys of the global batch."""
        del step
        self._queue.write(tf.concat(aux, 0))

    def checkpoint_items(self) -> dict[str, tf.Variable]:
        """Both encoders with their BatchNorm statistics, queue, head, probe."""
        own = self._key_network.items() | self._queue.items()
        return super().checkpoint_items() | own

    def _query(self, view: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        features = self.encoder(view, training=True)
        return features, moco_normalize(self._projector(features, training=True))

    def _key(self, view: tf.Tensor, step: tf.Tensor, pass_name: str) -> tf.Tensor:
        def encode(images):
            return moco_normalize(self._key_network(images))

        if not self._shuffle:
            return encode(view)
        seed = seeds.step_seed(self._seed, f"shuffle{pass_name}", step)
        return encode_shuffled(encode, view, seed)
