"""SimCLR: two views of an image agree, all other images of the batch are negatives."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfssl.core import collectives, variables
from tfssl.losses import as_float, nt_xent, nt_xent_scalars
from tfssl.methods.base import Batch, StepOutput
from tfssl.methods.online_probe import probe_loss


class SimCLR:
    """SimCLR v1 and v2 (Chen et al. 2020a, b; google-research `simclr/tf2/`).

    Both views form one batch of 2b rows, all first views before all second views, and
    pass the encoder together, so BatchNorm sees them together. Negatives come from
    every replica, and gradients flow back to them. The loss is the sum of both
    directions: twice the paper's equation 1 averaged over 2b rows, as in the official
    code, whose learning rates and decays belong to this factor.

    Args:
      encoder: Images `[2b, S, S, 3]` to features `[2b, F]`.
      projector: `[2b, F]` to the list of every layer's output; the last is `[2b, D]`.
      temperature: > 0; 0.1 for ImageNet, 0.5 for CIFAR-10.
      probe: Online classifier on both views, or None.
      probe_decay: Weight of `|kernel|^2 / 2` of the probe in the loss. The official
        code keeps the probe out of LARS' decay and puts it here.
    """

    def __init__(
        self,
        encoder: keras.Model,
        projector: keras.Model,
        *,
        temperature: float,
        probe: keras.Model | None = None,
        probe_decay: float = 0.0,
    ):
        self.encoder = encoder
        self._projector = projector
        self._temperature = temperature
        self._probe = probe
        self._probe_decay = probe_decay

    @property
    def trainable_variables(self) -> list:
        """Weights of encoder, projector and probe."""
        models = [self.encoder, self._projector]
        models += [self._probe] if self._probe else []
        return [v for model in models for v in model.trainable_variables]

    def before_forward(self, step: tf.Tensor) -> None:
        """Nothing moves before the forward pass."""
        del step

    def loss(self, batch: Batch, step: tf.Tensor) -> StepOutput:
        """NT-Xent over the global batch; see the class."""
        return self.loss_of(self.embed(batch, step), batch.label, step)

    def embed(self, batch: Batch, step: tf.Tensor) -> dict[str, tf.Tensor]:
        """Projections of both views, and their features if there is a probe."""
        del step
        features = self.encoder(tf.concat(batch.views, 0), training=True)
        z = as_float(self._projector(features, training=True)[-1])
        parts = {"z": z} | ({"features": features} if self._probe else {})
        return {
            f"{name}{view}": half
            for name, both in parts.items()
            for view, half in enumerate(tf.split(both, 2), 1)
        }

    def loss_of(
        self, embedded: dict[str, tf.Tensor], label: tf.Tensor, step: tf.Tensor
    ) -> StepOutput:
        """NT-Xent and the probe's loss; see the class."""
        del step
        z1, z2 = embedded["z1"], embedded["z2"]
        settings = {
            "temperature": self._temperature,
            "z1_all": collectives.gather(z1),
            "z2_all": collectives.gather(z2),
            "offset": collectives.replica_id() * z1.shape[0],
        }
        loss = tf.reduce_mean(nt_xent(z1, z2, **settings))
        scalars = {"nt_xent": loss, **nt_xent_scalars(z1, z2, **settings)}
        if self._probe:
            features = tf.concat([embedded["features1"], embedded["features2"]], 0)
            both = tf.concat([label, label], 0)
            extra, probe_scalars = probe_loss(self._probe, features, both)
            kernel = variables.raw(self._probe.trainable_variables[0])
            loss += extra + self._probe_decay * tf.nn.l2_loss(kernel)
            scalars |= probe_scalars
        return StepOutput(loss, scalars)

    def after_update(self, step: tf.Tensor, aux: tuple[()]) -> None:
        """Nothing follows the update."""
        del step, aux

    def checkpoint_items(self) -> dict[str, tf.Variable]:
        """Encoder, projector and probe with their BatchNorm statistics."""
        items = variables.named("online/encoder", self.encoder.weights)
        items |= variables.named("online/projector", self._projector.weights)
        if self._probe:
            items |= variables.named("probe", self._probe.weights)
        return items
