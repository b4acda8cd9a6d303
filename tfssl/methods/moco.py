"""MoCo: a query finds its key among a queue of keys from a slowly moving encoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfssl import models
from tfssl.config import tables
from tfssl.core import collectives, seeds, variables
from tfssl.errors import ConfigError, message
from tfssl.losses import info_nce, info_nce_accuracy, moco_normalize
from tfssl.methods.base import Batch, Method, Setup, StepOutput
from tfssl.methods.online_probe import with_probe


class Dictionary(Method):
    """What MoCo shares with the dictionaries that its paper compares it with.

    A query is `q = n(f(view))`, f the encoder and its projector; it is to find its key
    among those of a dictionary.

    Args:
      encoder: Of the queries, images `[b, S, S, 3]` to features `[b, F]`.
      projector: `[b, F]` to `[b, D]`.
      temperature: T > 0; 0.07 (v1), 0.2 (v2), 0.1 (CIFAR demo).
      symmetric: Add the loss with the views exchanged (the authors' CIFAR demo).
      shuffle: Shuffle the keys' rows before encoding, see `encode_shuffled`.
      seed: The run's seed, for the shuffles.
      probe: Online classifier on the first query's features, or None.
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
        self.encoder = encoder
        self.projector = projector
        self.probe = probe
        self.shuffle = shuffle
        self.symmetric = symmetric
        self._temperature = temperature
        self._seed = seed

    def roles(self) -> dict[str, keras.Model | None]:
        """The query network and the probe."""
        return {
            "online/encoder": self.encoder,
            "online/projector": self.projector,
            "probe": self.probe,
        }

    def query(self, view: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Features `[b, F]` and normalised projections `[b, D]` of a view."""
        features = self.encoder(view, training=True)
        return features, moco_normalize(self.projector(features, training=True))

    def key(
        self,
        encode: Callable[[tf.Tensor], tf.Tensor],
        view: tf.Tensor,
        step: tf.Tensor,
        pass_name: str,
    ) -> tf.Tensor:
        """`encode(view)`, with `shuffle` in an order of its own for each pass."""
        if not self.shuffle:
            return encode(view)
        seed = seeds.step_seed(self._seed, f"shuffle{pass_name}", step)
        return encode_shuffled(encode, view, seed)

    def found(
        self,
        loss: tf.Tensor,
        accuracy: tf.Tensor,
        features: tf.Tensor | None,
        label: tf.Tensor,
        aux: tuple[tf.Tensor, ...] = (),
    ) -> StepOutput:
        """The step's output: scalars, the probe's loss added, nothing to derive."""
        scalars = {"info_nce": loss, "contrastive_accuracy": accuracy}
        done = with_probe(loss, scalars, self.probe, features, label)
        return StepOutput(*done, tuple(tf.stop_gradient(x) for x in aux))


class MoCo(Dictionary):
    """MoCo v1 and v2 (He et al. 2020, Chen et al. 2020; facebookresearch `moco/`).

    One step, in the order of `moco/builder.py`::

        key encoder <- m * key encoder + (1 - m) * query encoder     before the forward
        q = n(f_q(view 1)),  k = n(f_k(view 2))                      k without gradient
        loss = mean CE([q.k | q.queue] / T, 0)
        queue <- k of all replicas                                   after the logits

    With `symmetric` both sets of keys are enqueued. `shuffle` needs BatchNorm in groups
    (`--batch_norm_groups`): with statistics of the whole batch it changes nothing.
    `EndToEnd` and `MemoryBank` are the paper's two other dictionaries.

    Args:
      encoder, projector: As in `Dictionary`.
      key_network: Follows both; m = 0.999.
      queue: The dictionary.
      **settings: As in `Dictionary`.
    """

    def __init__(
        self,
        encoder: keras.Model,
        projector: keras.Model,
        key_network: KeyNetwork,
        queue: KeyQueue,
        **settings: Any,
    ):
        super().__init__(encoder, projector, **settings)
        self.key_network = key_network
        self.queue = queue

    def roles(self) -> dict[str, keras.Model | None]:
        """The query network, the probe, and the key network that follows."""
        return super().roles() | self.key_network.roles()

    def buffers(self) -> dict[str, tf.Variable]:
        """The queue and the place of its oldest key."""
        return self.queue.items()

    def before_forward(self, step: tf.Tensor) -> None:
        """Moves the key encoder towards the query weights of the last update."""
        self.key_network.move()

    def loss(self, batch: Batch, step: tf.Tensor) -> StepOutput:
        """InfoNCE against the queue; see the class."""
        view1, view2 = batch.views
        queue = tf.stop_gradient(tf.convert_to_tensor(self.queue.keys))
        features, query = self.query(view1)
        key = self.key(self._encode_key, view2, step, "1")
        settings = {"temperature": self._temperature, "normalize": False}
        loss = tf.reduce_mean(info_nce(query, key, queue, **settings))
        accuracy = info_nce_accuracy(query, key, queue, normalize=False)
        keys = [key]
        if self.symmetric:
            _, query2 = self.query(view2)
            key2 = self.key(self._encode_key, view1, step, "2")
            loss += tf.reduce_mean(info_nce(query2, key2, queue, **settings))
            keys = [key2, key]
        aux = tuple(collectives.gather(k) for k in keys)
        return self.found(loss, accuracy, features, batch.label, aux)

    def after_update(self, step: tf.Tensor, aux: tuple[tf.Tensor, ...]) -> None:
        """Enqueues the keys of the global batch."""
        self.queue.write(tf.concat(aux, 0))

    def _encode_key(self, images: tf.Tensor) -> tf.Tensor:
        return moco_normalize(self.key_network(images))


class KeyNetwork:
    """MoCo's momentum encoder (He et al. 2020, equation 2), also SimCLR v2's.

    `key <- m * key + (1 - m) * query` for every trainable weight. Runs in training mode
    with BatchNorm statistics of its own, which are never averaged with the others.

    Args:
      encoder: Images `[b, S, S, 3]` to features `[b, F]`.
      projector: `[b, F]` to `[b, D]`, or to a list whose last is that.
      online: The encoder and projector that are followed; the start is their copy.
      momentum: m in [0, 1].
    """

    def __init__(
        self,
        encoder: keras.Model,
        projector: keras.Model,
        *,
        online: tuple[keras.Model, keras.Model],
        momentum: float,
    ):
        self.encoder = encoder
        self.projector = projector
        self._online = online
        self._momentum = momentum
        for own, followed in self._pairs():
            variables.copy_values(followed.weights, own.weights)

    def move(self) -> None:
        """One step towards the online weights."""
        for own, followed in self._pairs():
            variables.move_towards(
                own.trainable_variables,
                followed.trainable_variables,
                1.0 - self._momentum,
            )

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """Projections `[b, D]` of images, not normalised, without gradient."""
        z = self.projector(self.encoder(images, training=True), training=True)
        return tf.stop_gradient(z[-1] if isinstance(z, list) else z)

    def roles(self) -> dict[str, keras.Model | None]:
        """Its networks, by name."""
        return {"key/encoder": self.encoder, "key/projector": self.projector}

    def _pairs(self) -> list[tuple[keras.Model, keras.Model]]:
        return list(zip((self.encoder, self.projector), self._online, strict=True))


class KeyQueue:
    """First-in first-out memory of `size` keys (He et al. 2020, section 3.2).

    Starts with normalised Gaussian rows, as `moco/builder.py` does.

    Args:
      size: K, number of keys, a multiple of `enqueued`.
      dim: D, dimensions of a key.
      enqueued: Keys written by one step: the global batch, twice that if symmetric.
      seed: The run's seed.

    Raises:
      ConfigError: `size` is not a multiple of `enqueued`.
    """

    def __init__(self, size: int, dim: int, *, enqueued: int, seed: int):
        if size < enqueued or size % enqueued:
            raise ConfigError(
                message(
                    f"queue_size={size} with {enqueued} keys a step",
                    "a multiple of the keys written by one step",
                    f"queue_size={max(1, size // enqueued) * enqueued}",
                )
            )
        self._size = size
        start = tf.random.stateless_normal(
            [size, dim], seeds.step_seed(seed, "queue", 0)
        )
        self.keys = tf.Variable(
            tf.math.l2_normalize(start, -1), trainable=False, name="queue"
        )
        self.head = tf.Variable(0, trainable=False, dtype=tf.int64, name="queue_head")

    def items(self) -> dict[str, tf.Variable]:
        """The keys and the place of the oldest, by name."""
        return {"queue/keys": self.keys, "queue/head": self.head}

    def write(self, keys: tf.Tensor) -> None:
        """Replaces the oldest keys.

        Args:
          keys: `[n, D]` normalised keys of the global batch, equal on every replica;
            n divides the queue's size.
        """
        count = keys.shape[0]
        rows = self.head + tf.range(count, dtype=tf.int64)
        self.keys.assign(tf.tensor_scatter_nd_update(self.keys, rows[:, None], keys))
        self.head.assign((self.head + count) % self._size)


def encode_shuffled(
    encode: Callable[[tf.Tensor], tf.Tensor], rows: tf.Tensor, seed: tf.Tensor
) -> tf.Tensor:
    """`encode(rows)`, normalised in other groups than the rows' own (MoCo, 3.3).

    Without it, query and key of one image share the statistics of their BatchNorm
    group, by which the network can find the positive key without looking at the image.
    With statistics of the whole batch it changes nothing but the order of sums.

    Args:
      encode: `[b, ...]` to `[b, D]`; differentiated through if it is differentiable.
      rows: This replica's rows, `[b, ...]`.
      seed: `core.seeds.step_seed`, equal on every replica.

    Returns:
      `[b, D]`, row i belonging to `rows[i]`.
    """
    count = rows.shape[0]
    total = count * collectives.num_replicas()
    # argsort of uniform numbers: XLA and TPU refuse stateless_shuffle.
    order = tf.argsort(tf.random.stateless_uniform([total], seed))
    shuffled = tf.gather(collectives.gather(rows), order)
    encoded = encode(collectives.local_rows(shuffled, count))
    back = tf.gather(collectives.gather(encoded), tf.argsort(order))
    return collectives.local_rows(back, count)


def build(flags: Any, setup: Setup) -> Method:
    """Makes MoCo from its flags (`tfssl.config.methods.MoCoFlags`).

    Raises:
      ConfigError: Interleaved groups on several replicas, or a queue of a wrong size.
    """
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    if flags.batch_norm_interleaved and replicas > 1:
        raise ConfigError(
            message(
                f"batch_norm_interleaved=True on {replicas} replicas",
                "one replica: interleaved groups cross from one to the other",
                "batch_norm_interleaved=False, or strategy=one",
            )
        )
    return tables.find(tables.DICTIONARIES, "dictionary", flags.dictionary)(
        flags, setup
    )


def networks(flags: Any, setup: Setup) -> tuple[keras.Model, keras.Model]:
    """Makes an encoder and a projector; equal at every call."""
    encoder = setup.encoder(setup.seed)
    projector = models.moco_head(
        encoder.output_shape[-1],
        out=flags.projector_dim,
        mlp=flags.projector_layers > 1,
        seed=setup.seed,
        name="projector",
    )
    return encoder, projector


def keys(
    flags: Any,
    setup: Setup,
    own: tuple[keras.Model, keras.Model],
    online: tuple[keras.Model, keras.Model],
    *,
    views: int,
) -> tuple[KeyNetwork, KeyQueue]:
    """Makes a network that follows `online`, and the queue of `views` keys an image."""
    queue = KeyQueue(
        flags.queue_size,
        flags.projector_dim,
        enqueued=setup.batch_size * views,
        seed=setup.seed,
    )
    return KeyNetwork(*own, online=online, momentum=flags.ema_momentum), queue


def build_queue(flags: Any, setup: Setup) -> MoCo:
    """Makes MoCo itself, `--dictionary=queue`."""
    online = networks(flags, setup)
    views = 2 if flags.symmetric else 1
    return MoCo(
        *online,
        *keys(flags, setup, networks(flags, setup), online, views=views),
        temperature=flags.temperature,
        probe=setup.probe(online[0].output_shape[-1]),
        symmetric=flags.symmetric,
        shuffle=setup.batch_norm_groups > 1,
        seed=setup.seed,
    )
