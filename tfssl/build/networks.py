"""Makes the encoder and the method that a `Config` names."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfssl import models, optim
from tfssl.config import Config
from tfssl.config.encoder_name import is_foreign
from tfssl.core import seeds
from tfssl.errors import ConfigError, message
from tfssl.methods import (
    BYOL,
    EndToEnd,
    FeatureBank,
    FineTune,
    KeyNetwork,
    KeyQueue,
    MemoryBank,
    Method,
    MoCo,
    SimCLR,
)

PROBE = "head_supervised"
"""Layer name of the online probe; SimCLR keeps it out of LARS' decay by this name."""


def encoder(config: Config, seed: int) -> keras.Model:
    """A freshly initialised encoder, a pure function of its name and the seed."""
    if is_foreign(config.encoder):
        return models.build_foreign_encoder(
            config.encoder, image_size=config.image_size, seed=seed
        )
    return models.Encoder(
        config.encoder,
        family=config.encoder_family,
        image_size=config.image_size,
        seed=seed,
        normalization=config.normalization,
        batch_norm_groups=config.batch_norm_groups,
        batch_norm_interleaved=config.batch_norm_interleaved,
        zero_init_last_gamma=config.zero_init_last_gamma,
    )


def _probe(config: Config, dim: int, classes: int | None) -> keras.Model | None:
    if not config.online_probe or not classes:
        return None
    return models.linear_head(dim, classes, seed=config.seed, name=PROBE)


def simclr_projector(config: Config, dim: int) -> models.Projector:
    """SimCLR's projector on features of length `dim`."""
    return models.simclr_head(
        dim,
        hidden=config.projector_hidden or None,
        out=config.projector_dim,
        layers=config.projector_layers,
        seed=config.seed,
        name="projector",
        normalization=config.normalization,
        batch_norm_groups=config.batch_norm_groups,
    )


def _simclr(config: Config, classes: int | None, steps: int, examples: int) -> Method:
    del steps, examples

    def networks() -> tuple[keras.Model, keras.Model]:
        network = encoder(config, config.seed)
        return network, simclr_projector(config, network.output_shape[-1])

    online, projector = networks()
    memory = None
    if config.queue_size:
        memory = _keys(config, networks(), (online, projector), views=2)
    return SimCLR(
        online,
        projector,
        temperature=config.temperature,
        probe=_probe(config, online.output_shape[-1], classes),
        probe_decay=config.weight_decay,
        memory=memory,
    )


def _keys(
    config: Config,
    own: tuple[keras.Model, keras.Model],
    online: tuple[keras.Model, keras.Model],
    *,
    views: int,
) -> tuple[KeyNetwork, KeyQueue]:
    """A network that follows `online`, and the queue of `views` keys an image."""
    queue = KeyQueue(
        config.queue_size,
        config.projector_dim,
        enqueued=config.batch_size * views,
        seed=config.seed,
    )
    return KeyNetwork(*own, online=online, momentum=config.ema_momentum), queue


def _byol(config: Config, classes: int | None, steps: int, examples: int) -> Method:
    del examples

    def networks(seed: int) -> tuple[keras.Model, keras.Model]:
        network = encoder(config, seed)
        projector = models.byol_mlp(
            network.output_shape[-1],
            hidden=config.projector_hidden,
            out=config.projector_dim,
            seed=seed,
            name="projector",
            normalization=config.normalization,
            batch_norm_groups=config.batch_norm_groups,
        )
        return network, projector

    online, projector = networks(config.seed)
    predictor = None
    if config.predictor == "mlp":
        predictor = models.byol_mlp(
            config.projector_dim,
            hidden=config.predictor_hidden,
            out=config.projector_dim,
            seed=config.seed,
            name="predictor",
            normalization=config.normalization,
            batch_norm_groups=config.batch_norm_groups,
        )
    target, target_projector = networks(seeds.init_seed(config.seed, "target"))

    def tau(step):
        if config.ema_schedule == "constant":
            return tf.constant(config.ema_momentum, tf.float32)
        return optim.byol_tau(step, base=config.ema_momentum, total=steps)

    return BYOL(
        online,
        projector,
        predictor,
        target,
        target_projector,
        tau=tau,
        copy_target=config.target_init == "copy",
        probe=_probe(config, online.output_shape[-1], classes),
    )


def _moco(config: Config, classes: int | None, steps: int, examples: int) -> Method:
    del steps
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    if config.batch_norm_interleaved and replicas > 1:
        raise ConfigError(
            message(
                f"--batch_norm_interleaved on {replicas} replicas",
                "one replica: interleaved groups cross from one to the other",
                "--nobatch_norm_interleaved, or --strategy=one",
            )
        )

    def networks() -> tuple[keras.Model, keras.Model]:
        network = encoder(config, config.seed)
        projector = models.moco_head(
            network.output_shape[-1],
            out=config.projector_dim,
            mlp=config.projector_layers > 1,
            seed=config.seed,
            name="projector",
        )
        return network, projector

    online, projector = networks()
    both: dict[str, Any] = {
        "temperature": config.temperature,
        "probe": _probe(config, online.output_shape[-1], classes),
    }
    shuffled = {
        "symmetric": config.symmetric,
        "shuffle": config.batch_norm_groups > 1,
        "seed": config.seed,
    }
    if config.dictionary == "batch":
        return EndToEnd(online, projector, **both, **shuffled)
    if config.dictionary == "bank":
        bank = FeatureBank(
            examples,
            config.projector_dim,
            drawn=config.queue_size,
            momentum=config.ema_momentum,
            seed=config.seed,
        )
        return MemoryBank(online, projector, bank, **both)
    views = 2 if config.symmetric else 1
    keys = _keys(config, networks(), (online, projector), views=views)
    return MoCo(online, projector, *keys, **both, **shuffled)


def fine_tune(config: Config, classes: int) -> FineTune:
    """Encoder, kept projector layers and classifier of `--mode=finetune`."""
    network = encoder(config, config.seed)
    width, stem = network.output_shape[-1], None
    if layer := config.finetune_layer:
        projector = simclr_projector(config, width)
        stem = keras.Model(projector.inputs, projector.outputs[layer - 1], name="stem")
        width = stem.output_shape[-1]
    classifier = models.linear_head(
        width, classes, seed=config.seed, name=PROBE, family=config.encoder_family
    )
    return FineTune(network, classifier, stem=stem)


METHOD_BUILDERS = {"byol": _byol, "simclr": _simclr, "moco": _moco}
