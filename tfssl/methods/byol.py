"""BYOL: the online network predicts the target network's projection of another view."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfssl import models, optim
from tfssl.core import seeds, variables
from tfssl.losses import byol_regression
from tfssl.methods.base import Batch, Method, Setup, StepOutput
from tfssl.methods.online_probe import with_probe


class BYOL(Method):
    """BYOL (Grill et al. 2020, section 3; deepmind-research `byol/byol_experiment.py`).

    Each view runs through the online network (encoder, projector, predictor) and the
    target network (encoder, projector) in a forward pass of its own, both in training
    mode, so BatchNorm sees one view at a time and its averages move twice a step::

        loss = mean(|n(p1) - n(t2)|^2 + |n(p2) - n(t1)|^2)      in [0, 8]
        target <- tau * target + (1 - tau) * online             after the update

    `byol_regression` lets no gradient through to the target. The target's BatchNorm
    statistics are its own; they are not averaged.
    The official target also holds a predictor and a classifier, which nothing reads;
    here it has neither.

    Args:
      encoder: Online encoder, images `[b, S, S, 3]` to features `[b, F]`.
      projector: `[b, F]` to `[b, D]`.
      predictor: `[b, D]` to `[b, D]`; None: the projection itself is compared, the
        paper's ablation (table 5b), which collapses.
      target_encoder: Same architecture as `encoder`.
      target_projector: Same architecture as `projector`.
      tau: Step to target decay rate in [0, 1], see `tfssl.optim.byol_tau`.
      probe: Online classifier on view 1, or None.
      copy_target: Start the target as a copy of the online network. The official code
        starts it from another random draw (False).
    """

    def __init__(
        self,
        encoder: keras.Model,
        projector: keras.Model,
        predictor: keras.Model | None,
        target_encoder: keras.Model,
        target_projector: keras.Model,
        *,
        tau: Callable[[tf.Tensor], tf.Tensor],
        probe: keras.Model | None = None,
        copy_target: bool = True,
    ):
        self.encoder = encoder
        self.projector = projector
        self.predictor = predictor
        self.target_encoder = target_encoder
        self.target_projector = target_projector
        self.tau = tau
        self.probe = probe
        if copy_target:
            variables.copy_values(encoder.weights, target_encoder.weights)
            variables.copy_values(projector.weights, target_projector.weights)

    def roles(self) -> dict[str, keras.Model | None]:
        """The online network, the target that follows it, and the probe."""
        return {
            "online/encoder": self.encoder,
            "online/projector": self.projector,
            "online/predictor": self.predictor,
            "target/encoder": self.target_encoder,
            "target/projector": self.target_projector,
            "probe": self.probe,
        }

    def loss(self, batch: Batch, step: tf.Tensor) -> StepOutput:
        """Symmetric regression loss; see the class."""
        view1, view2 = batch.views
        features1 = self.encoder(view1, training=True)
        features2 = self.encoder(view2, training=True)
        prediction1 = self._predict(features1)
        prediction2 = self._predict(features2)
        target1 = self._target(view1)
        target2 = self._target(view2)
        per_row = byol_regression(prediction1, target2)
        per_row += byol_regression(prediction2, target1)
        loss = tf.reduce_mean(per_row)
        scalars = {"byol_loss": loss}
        return StepOutput(
            *with_probe(loss, scalars, self.probe, features1, batch.label)
        )

    def after_update(self, step: tf.Tensor, aux: Any) -> None:
        """Moves the target towards the new online weights."""
        rate = 1.0 - self.tau(step)
        for target, online in (
            (self.target_encoder, self.encoder),
            (self.target_projector, self.projector),
        ):
            variables.move_towards(
                target.trainable_variables, online.trainable_variables, rate
            )

    def _predict(self, features: tf.Tensor) -> tf.Tensor:
        z = self.projector(features, training=True)
        return self.predictor(z, training=True) if self.predictor else z

    def _target(self, view: tf.Tensor) -> tf.Tensor:
        features = self.target_encoder(view, training=True)
        return self.target_projector(features, training=True)


def build(flags: Any, setup: Setup) -> BYOL:
    """Makes BYOL from its flags (`tfssl.config.methods.BYOLFlags`)."""

    def mlp(dim: int, hidden: int, seed: int, name: str) -> keras.Model:
        return models.byol_mlp(
            dim,
            hidden=hidden,
            out=flags.projector_dim,
            seed=seed,
            name=name,
            **setup.heads,
        )

    def networks(seed: int) -> tuple[keras.Model, keras.Model]:
        encoder = setup.encoder(seed)
        features = encoder.output_shape[-1]
        return encoder, mlp(features, flags.projector_hidden, seed, "projector")

    def tau(step: tf.Tensor) -> tf.Tensor:
        if flags.ema_schedule == "constant":
            return tf.constant(flags.ema_momentum, tf.float32)
        return optim.byol_tau(step, base=flags.ema_momentum, total=setup.steps)

    online, projector = networks(setup.seed)
    predictor = None
    if flags.predictor == "mlp":
        predictor = mlp(
            flags.projector_dim, flags.predictor_hidden, setup.seed, "predictor"
        )
    return BYOL(
        online,
        projector,
        predictor,
        *networks(seeds.init_seed(setup.seed, "target")),
        tau=tau,
        copy_target=flags.target_init == "copy",
        probe=setup.probe(online.output_shape[-1]),
    )
