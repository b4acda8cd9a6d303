"""SimSiam, a method of one's own: `--method=examples.simsiam:SIMSIAM`.

Exploring Simple Siamese Representation Learning (Chen & He 2020, arXiv 2011.10566).
From the repository's root: `python -m tfssl.main --flagfile=examples/simsiam.cfg`.
"""

from __future__ import annotations

import dataclasses
import functools

import keras
import tensorflow as tf

from tfssl import optim
from tfssl.config import Flags, MethodRow, flag
from tfssl.core.seeds import init_seed
from tfssl.losses import l2_normalize
from tfssl.methods import Batch, Method, Setup, StepOutput, with_probe
from tfssl.models.families import get_family
from tfssl.models.normalization import get_normalization


@dataclasses.dataclass(frozen=True)
class SimSiamFlags(Flags):
    """SimSiam's own flags; for CIFAR-10 (appendix D) two layers in the projector."""

    projector_dim: int = flag(2048, "width of the projection", low=1, scope="encoder")
    projector_layers: int = flag(
        3, "linear layers in the projector", low=1, high=8, scope="encoder", small=2
    )
    predictor_hidden: int = flag(512, "width in the predictor", low=1, scope="encoder")
    predictor_decay: bool = flag(
        False, "let the predictor's learning rate fall like the others' (table 1b)"
    )


class SimSiam(Method):
    """Each view predicts the other's projection, without target and negatives.

    ::

        z = projector(encoder(x)),  p = predictor(z)
        loss = D(p1, z2) / 2 + D(p2, z1) / 2,   D(p, z) = -cos(p, stop_gradient(z))

    in [-1, 1] (algorithm 1). The predictor's learning rate does not fall (section 4.1).

    Args: Networks `[b, S, S, 3]` to `[b, F]` to `[b, D]` to `[b, D]`, and the online
    classifier of view 1 or None.
    """

    def __init__(self, encoder, projector, predictor, probe, predictor_decay):
        self.encoder, self.projector = encoder, projector
        self.predictor, self.probe = predictor, probe
        self._decay = predictor_decay

    def roles(self) -> dict[str, keras.Model | None]:
        """The networks under the names that checkpoints have."""
        return {
            "online/encoder": self.encoder,
            "online/projector": self.projector,
            "online/predictor": self.predictor,
            "probe": self.probe,
        }

    def learning_rates(self, peak: float):
        """The predictor's: constant."""
        constant = functools.partial(optim.constant, peak=peak)
        return {} if self._decay else {"online/predictor": constant}

    def loss(self, batch: Batch, step: tf.Tensor) -> StepOutput:
        """See the class; each view passes the network by itself."""
        features = [self.encoder(view, training=True) for view in batch.views]
        z1, z2 = (self.projector(f, training=True) for f in features)
        p1, p2 = (self.predictor(z, training=True) for z in (z1, z2))
        loss = tf.reduce_mean(_distance(p1, z2) + _distance(p2, z1)) / 2
        scalars = {"simsiam_loss": loss}
        done = with_probe(loss, scalars, self.probe, features[0], batch.label)
        return StepOutput(*done)


def _distance(p: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
    """Negative cosine similarity `[b]`; no gradient reaches z."""
    return -tf.reduce_sum(l2_normalize(p) * tf.stop_gradient(l2_normalize(z)), -1)


def _mlp(widths: list[int], setup: Setup, name: str, last: bool) -> keras.Model:
    """Linear layers drawn as torch's, norm and ReLU between, a `last` norm behind."""
    kind = get_normalization(setup.heads["normalization"])
    rules = get_family("moco").batch_norm() | {"groups": setup.batch_norm_groups}
    x = inputs = keras.Input((widths[0],))
    end = len(widths) - 1
    for i, width in enumerate(widths[1:], 1):
        layer, norm = f"{name}{i}", last or i < end
        seed = init_seed(setup.seed, layer)
        draw = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform", seed)
        make = kind.dense if norm else keras.layers.Dense
        x = make(width, use_bias=not norm, kernel_initializer=draw, name=layer)(x)
        x = kind.norm(rules, name=f"{layer}_bn")(x) if norm else x
        x = keras.layers.ReLU(name=f"{layer}_relu")(x) if i < end else x
    return keras.Model(inputs, x, name=name)


def build(flags: SimSiamFlags, setup: Setup) -> SimSiam:
    """Makes SimSiam as the paper's section 3 describes it."""
    encoder, dim = setup.encoder(setup.seed), flags.projector_dim
    features = encoder.output_shape[-1]
    widths = [features] + flags.projector_layers * [dim]
    projector = _mlp(widths, setup, "projector", last=True)
    widths = [dim, flags.predictor_hidden, dim]
    predictor = _mlp(widths, setup, "predictor", last=False)
    probe = setup.probe(features)
    return SimSiam(encoder, projector, predictor, probe, flags.predictor_decay)


SIMSIAM = MethodRow(
    build=build,
    flags=SimSiamFlags,
    defaults={
        "encoder_family": "moco",
        "augment": "moco_v2",
        "optimizer": "sgd",
        "learning_rate": 0.05,
        "weight_decay": 1e-4,
        "warmup_epochs": 0.0,
    },
    small={"augment": "moco_cifar", "learning_rate": 0.03, "weight_decay": 5e-4},
    cosine_by_epoch=True,
)
