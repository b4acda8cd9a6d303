"""MoCo: a query finds its key among a queue of keys from a slowly moving encoder."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfssl.core import collectives, seeds, variables
from tfssl.losses import (
    MOCO_SQUARED_EPSILON,
    info_nce,
    info_nce_accuracy,
    l2_normalize,
)
from tfssl.methods.base import Batch, StepOutput
from tfssl.methods.key_queue import KeyQueue
from tfssl.methods.online_probe import probe_loss


class MoCo:
    """MoCo v1 and v2 (He et al. 2020, Chen et al. 2020; facebookresearch `moco/`).

    One step, in the order of `moco/builder.py`::

        key encoder <- m * key encoder + (1 - m) * query encoder     before the forward
        q = n(f_q(view 1)),  k = n(f_k(view 2))                      k without gradient
        loss = mean CE([q.k | q.queue] / T, 0)
        queue <- k of all replicas                                   after the logits

    The key encoder runs in training mode with BatchNorm statistics of its own, which
    are never averaged with the query encoder's.

    With `shuffle` (paper, section 3.3) the rows of view 2 change places over the
    global batch before they are encoded, so that query and key of one image are
    normalised in different groups. It needs BatchNorm in groups
    (`--batch_norm_groups`): with statistics of the whole batch it changes nothing.

    Args:
      encoder: Query encoder, images `[b, S, S, 3]` to features `[b, F]`.
      projector: `[b, F]` to `[b, D]`.
      key_encoder: Same architecture as `encoder`; starts as its copy.
      key_projector: Same architecture as `projector`; starts as its copy.
      queue: The dictionary.
      momentum: m in [0, 1]; 0.999.
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
        key_encoder: keras.Model,
        key_projector: keras.Model,
        queue: KeyQueue,
        *,
        momentum: float,
        temperature: float,
        symmetric: bool = False,
        shuffle: bool = False,
        seed: int = 0,
        probe: keras.Model | None = None,
    ):
        self.encoder = encoder
        self._projector = projector
        self._key_encoder = key_encoder
        self._key_projector = key_projector
        self._queue = queue
        self._momentum = momentum
        self._temperature = temperature
        self._symmetric = symmetric
        self._shuffle = shuffle
        self._seed = seed
        self._probe = probe
        variables.copy_values(encoder.weights, key_encoder.weights)
        variables.copy_values(projector.weights, key_projector.weights)

    @property
    def trainable_variables(self) -> list:
        """Weights of query encoder, its projector, and the probe."""
        models = [self.encoder, self._projector]
        models += [self._probe] if self._probe else []
        return [v for model in models for v in model.trainable_variables]

    def before_forward(self, step: tf.Tensor) -> None:
        """Moves the key encoder towards the query weights of the last update."""
        del step
        for key, query in (
            (self._key_encoder, self.encoder),
            (self._key_projector, self._projector),
        ):
            variables.move_towards(
                key.trainable_variables,
                query.trainable_variables,
                1.0 - self._momentum,
            )

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
        if self._probe:
            extra, probe_scalars = probe_loss(self._probe, features, batch.label)
            loss += extra
            scalars |= probe_scalars
        aux = tuple(tf.stop_gradient(collectives.gather(k)) for k in keys)
        return StepOutput(loss, scalars, aux)

    def after_update(self, step: tf.Tensor, aux: tuple[tf.Tensor, ...]) -> None:
        """Enqueues the keys of the global batch."""
        del step
        self._queue.write(tf.concat(aux, 0))

    def checkpoint_items(self) -> dict[str, tf.Variable]:
        """Both encoders with their BatchNorm statistics, queue, head, probe."""
        items = variables.named("online/encoder", self.encoder.weights)
        items |= variables.named("online/projector", self._projector.weights)
        items |= variables.named("key/encoder", self._key_encoder.weights)
        items |= variables.named("key/projector", self._key_projector.weights)
        items |= {"queue/keys": self._queue.keys, "queue/head": self._queue.head}
        if self._probe:
            items |= variables.named("probe", self._probe.weights)
        return items

    def _query(self, view: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        features = self.encoder(view, training=True)
        return features, _unit(self._projector(features, training=True))

    def _key(self, view: tf.Tensor, step: tf.Tensor, pass_name: str) -> tf.Tensor:
        rows = view.shape[0]
        if self._shuffle:
            # argsort of uniform numbers: XLA and TPU refuse stateless_shuffle.
            seed = seeds.step_seed(self._seed, f"shuffle{pass_name}", step)
            total = rows * collectives.num_replicas()
            order = tf.argsort(tf.random.stateless_uniform([total], seed))
            shuffled = tf.gather(collectives.gather(view), order)
            view = collectives.local_rows(shuffled, rows)
        features = self._key_encoder(view, training=True)
        key = _unit(self._key_projector(features, training=True))
        if self._shuffle:
            back = tf.argsort(order)
            key = collectives.local_rows(tf.gather(collectives.gather(key), back), rows)
        return tf.stop_gradient(key)


def _unit(x: tf.Tensor) -> tf.Tensor:
    """Rows of norm 1, with the floor of torch's `F.normalize`."""
    return l2_normalize(x, epsilon=MOCO_SQUARED_EPSILON)
