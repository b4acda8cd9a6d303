"""BYOL: the online network predicts the target network's projection of another view."""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf

from tfssl.core import variables
from tfssl.losses import byol_regression
from tfssl.methods.base import Batch, StepOutput
from tfssl.methods.online_probe import with_probe


class BYOL:
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
        self._projector = projector
        self._predictor = predictor
        self._target_encoder = target_encoder
        self._target_projector = target_projector
        self._tau = tau
        self._probe = probe
        if copy_target:
            variables.copy_values(encoder.weights, target_encoder.weights)
            variables.copy_values(projector.weights, target_projector.weights)

    @property
    def trainable_variables(self) -> list:
        """Weights of encoder, projector, predictor and probe."""
        models = [self.encoder, self._projector, self._predictor, self._probe]
        return [v for model in models if model for v in model.trainable_variables]

    def before_forward(self, step: tf.Tensor) -> None:
        """Nothing moves before the forward pass."""
        del step

    def loss(self, batch: Batch, step: tf.Tensor) -> StepOutput:
        """Symmetric regression loss; see the class."""
        del step
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
        done = with_probe(loss, scalars, self._probe, features1, batch.label)
        return StepOutput(*done)

    def after_update(self, step: tf.Tensor, aux: tuple[()]) -> None:
        """Moves the target towards the new online weights."""
        del aux
        rate = 1.0 - self._tau(step)
        for target, online in (
            (self._target_encoder, self.encoder),
            (self._target_projector, self._projector),
        ):
            variables.move_towards(
                target.trainable_variables, online.trainable_variables, rate
            )

    def checkpoint_items(self) -> dict[str, tf.Variable]:
        """Online and target weights with their BatchNorm statistics, and the probe."""
        items = variables.named("online/encoder", self.encoder.variables)
        items |= variables.named("online/projector", self._projector.weights)
        if self._predictor:
            items |= variables.named("online/predictor", self._predictor.weights)
        items |= variables.named("target/encoder", self._target_encoder.variables)
        items |= variables.named("target/projector", self._target_projector.weights)
        if self._probe:
            items |= variables.named("probe", self._probe.weights)
        return items

    def _predict(self, features: tf.Tensor) -> tf.Tensor:
        z = self._projector(features, training=True)
        return self._predictor(z, training=True) if self._predictor else z

    def _target(self, view: tf.Tensor) -> tf.Tensor:
        features = self._target_encoder(view, training=True)
        return self._target_projector(features, training=True)
