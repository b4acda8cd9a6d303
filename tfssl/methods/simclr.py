"""SimCLR: two views of an image agree, all other images of the batch are negatives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from tfssl import models
from tfssl.core import collectives
from tfssl.losses import as_float, l2_normalize, nt_xent, nt_xent_scalars
from tfssl.methods.base import Batch, Method, Setup, StepOutput
from tfssl.methods.moco import KeyNetwork, KeyQueue, keys
from tfssl.methods.online_probe import with_probe


class SimCLR(Method):
    """SimCLR v1 and v2 (Chen et al. 2020a, b; google-research `simclr/tf2/`).

    Both views form one batch of 2b rows, all first views before all second views, and
    pass the encoder together, so BatchNorm sees them together. Negatives come from
    every replica, and gradients flow back to them. The loss is the sum of both
    directions: twice the paper's equation 1 averaged over 2b rows, as in the official
    code, whose learning rates and decays belong to this factor.

    SimCLR v2's memory (2006.10029, section 2; K = 64K keys, m = .999), which the
    official code does not have, adds MoCo's queue to the negatives, in MoCo's order::

        memory network <- m * memory network + (1 - m) * network     before the forward
        loss with every key of the queue as a negative               see `nt_xent`
        queue <- memory network's n(z) of both views, all replicas   after the update

    The positive and the batch's negatives stay as they are, with gradient. That both
    views are enqueued, 2N keys a step, is ours: the paper does not say.

    Args:
      encoder: Images `[2b, S, S, 3]` to features `[2b, F]`.
      projector: `[2b, F]` to the list of every layer's output; the last is `[2b, D]`.
      temperature: > 0; 0.1 for ImageNet, 0.5 for CIFAR-10.
      probe: Online classifier on both views, or None.
      probe_decay: Weight of `|kernel|^2 / 2` of the probe in the loss. The official
        code keeps the probe out of LARS' decay and puts it here.
      memory: The network that makes the memory's keys and the queue that holds them,
        or None.
    """

    def __init__(
        self,
        encoder: keras.Model,
        projector: keras.Model,
        *,
        temperature: float,
        probe: keras.Model | None = None,
        probe_decay: float = 0.0,
        memory: tuple[KeyNetwork, KeyQueue] | None = None,
    ):
        self.encoder = encoder
        self.projector = projector
        self.probe = probe
        self._temperature = temperature
        self._probe_decay = probe_decay
        self._memory_network, self._queue = memory or (None, None)

    def roles(self) -> dict[str, keras.Model | None]:
        """The network, its probe, and the memory's network if there is one."""
        return {
            "online/encoder": self.encoder,
            "online/projector": self.projector,
            "probe": self.probe,
            **(self._memory_network.roles() if self._memory_network else {}),
        }

    def buffers(self) -> dict[str, tf.Variable]:
        """The memory, if there is one."""
        return self._queue.items() if self._queue else {}

    def before_forward(self, step: tf.Tensor) -> None:
        """Moves the memory's network, if there is one."""
        if self._memory_network:
            self._memory_network.move()

    def loss(self, batch: Batch, step: tf.Tensor) -> StepOutput:
        """NT-Xent over the global batch; see the class."""
        return self.loss_of(self.embed(batch, step), batch.label, step)

    def embed(self, batch: Batch, step: tf.Tensor) -> dict[str, tf.Tensor]:
        """Projections of both views; features for the probe, keys for the memory."""
        images = tf.concat(batch.views, 0)
        features = self.encoder(images, training=True)
        parts = {"z": as_float(self.projector(features, training=True)[-1])}
        if self.probe:
            parts["features"] = features
        if self._memory_network:
            parts["key"] = l2_normalize(self._memory_network(images))
        return {
            f"{name}{view}": half
            for name, both in parts.items()
            for view, half in enumerate(tf.split(both, 2), 1)
        }

    def loss_of(
        self, embedded: dict[str, tf.Tensor], label: tf.Tensor, step: tf.Tensor
    ) -> StepOutput:
        """NT-Xent and the probe's loss; see the class."""
        z1, z2 = embedded["z1"], embedded["z2"]
        settings = {
            "temperature": self._temperature,
            "z1_all": collectives.gather(z1),
            "z2_all": collectives.gather(z2),
            "offset": collectives.replica_id() * z1.shape[0],
        }
        queue = tf.convert_to_tensor(self._queue.keys) if self._queue else None
        loss = tf.reduce_mean(nt_xent(z1, z2, memory=queue, **settings))
        scalars = {"nt_xent": loss, **nt_xent_scalars(z1, z2, **settings)}
        if self.probe:
            features = tf.concat([embedded["features1"], embedded["features2"]], 0)
            both = tf.concat([label, label], 0)
            given = self.probe, features, both
            loss, scalars = with_probe(loss, scalars, *given, decay=self._probe_decay)
        if not self._queue:
            return StepOutput(loss, scalars)
        own = tuple(collectives.gather(embedded[name]) for name in ("key1", "key2"))
        return StepOutput(loss, scalars, tf.nest.map_structure(tf.stop_gradient, own))

    def after_update(self, step: tf.Tensor, aux: tuple[tf.Tensor, ...]) -> None:
        """Enqueues the memory's keys of the global batch, if there is a memory."""
        if self._queue:
            self._queue.write(tf.concat(aux, 0))


def build(flags: Any, setup: Setup) -> SimCLR:
    """Makes SimCLR from its flags (`tfssl.config.methods.SimCLRFlags`)."""

    def networks() -> tuple[keras.Model, keras.Model]:
        encoder = setup.encoder(setup.seed)
        features = encoder.output_shape[-1]
        return encoder, build_projector(flags, features, setup.seed, setup.heads)

    online, projector = networks()
    memory = None
    if flags.queue_size:
        memory = keys(flags, setup, networks(), (online, projector), views=2)
    return SimCLR(
        online,
        projector,
        temperature=flags.temperature,
        probe=setup.probe(online.output_shape[-1]),
        probe_decay=setup.weight_decay,
        memory=memory,
    )


def build_projector(
    flags: Any, features: int, seed: int, heads: Mapping[str, Any]
) -> models.Projector:
    """Makes the projector; fine-tuning keeps its first layers."""
    return models.simclr_head(
        features,
        hidden=flags.projector_hidden or None,
        out=flags.projector_dim,
        layers=flags.projector_layers,
        seed=seed,
        name="projector",
        **heads,
    )
