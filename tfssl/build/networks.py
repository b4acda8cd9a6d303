"""Makes the encoder and the method that a `Config` names."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tfssl import models
from tfssl.augment import named
from tfssl.config import Config, method_row
from tfssl.config.encoder_name import is_foreign
from tfssl.methods import FineTune, Method, Setup
from tfssl.methods.simclr import build_projector
from tfssl.models.blocks import Parts
from tfssl.models.families import get_family
from tfssl.models.normalization import get_normalization

PROBE = "head_supervised"
"""Layer name of the online probe; SimCLR keeps it out of LARS' decay by this name."""

_STAGES = ("stem_", "stage1_", "stage2_", "stage3_", "stage4_")
"""Where the names of an encoder's layers begin: below P2, then P2 to P5."""


def encoder(config: Config, seed: int) -> keras.Model:
    """Returns a fresh encoder, a pure function of its name and the seed."""
    views = named(config.augment)
    normalization = {"mean": views.mean, "std": views.std}
    if is_foreign(config.encoder):
        return models.build_foreign_encoder(
            config.encoder, image_size=config.image_size, seed=seed, **normalization
        )
    return models.Encoder(
        config.encoder,
        family=config.encoder_family,
        image_size=config.image_size,
        seed=seed,
        **normalization,
        normalization=config.normalization,
        batch_norm_groups=config.batch_norm_groups,
        batch_norm_interleaved=config.batch_norm_interleaved,
        zero_init_last_gamma=config.zero_init_last_gamma,
    )


def method(config: Config, classes: int | None, steps: int, examples: int) -> Method:
    """Returns the method of `--method`, freshly initialised.

    Args:
      config: Resolved configuration.
      classes: Of the online probe; None: there are no labels.
      steps: Updates of the whole run.
      examples: Training images.
    """
    row = method_row(config.method)
    build = row.build
    if isinstance(build, str):
        module, _, name = build.partition(":")
        build = getattr(importlib.import_module(module), name)

    def probe(features: int) -> keras.Model | None:
        if not config.online_probe or not classes:
            return None
        return models.linear_head(features, classes, seed=config.seed, name=PROBE)

    setup = Setup(
        encoder=lambda seed: encoder(config, seed),
        probe=probe,
        heads=_heads(config),
        seed=config.seed,
        batch_size=config.batch_size,
        steps=steps,
        examples=examples,
        weight_decay=config.weight_decay,
        batch_norm_groups=config.batch_norm_groups,
    )
    return build(config.of(row.flags), setup)


def fine_tune(
    config: Config,
    classes: int,
    class_weights: Sequence[float] | None = None,
    momentum: float | None = None,
    targets: np.ndarray | None = None,
) -> FineTune:
    """Returns encoder, kept projector layers and classifier for `--mode=finetune`.

    Args:
      config: Resolved configuration.
      classes: Of the labels.
      class_weights: See `FineTune`.
      momentum: Of BatchNorm's statistics; None: the family's.
      targets: See `FineTune`.
    """
    network = encoder(config, config.seed)
    for layer in network.layers if momentum is not None else ():
        if isinstance(layer, keras.layers.BatchNormalization | models.BatchNorm):
            layer.momentum = momentum
    if config.freeze != "none":
        freeze_below(network, config.freeze)
    width, stem = network.output_shape[-1], None
    if layer := config.finetune_layer:
        flags = config.of(method_row(config.method).flags)
        projector = build_projector(flags, width, config.seed, _heads(config))
        stem = keras.Model(projector.inputs, projector.outputs[layer - 1], name="stem")
        width = stem.output_shape[-1]
    classifier = models.linear_head(
        width, classes, seed=config.seed, name=PROBE, family=config.encoder_family
    )
    return FineTune(
        network,
        classifier,
        stem=stem,
        label_smoothing=config.label_smoothing,
        class_weights=class_weights,
        targets=targets,
    )


def dense_parts(config: Config, seed: int) -> Parts:
    """Makes the layers of what is put on stages, with the encoder's normalisation."""
    return Parts(
        family=get_family(config.encoder_family),
        seed=seed,
        zero_last_gamma=False,
        normalization=get_normalization(config.normalization),
        norm_options={"groups": config.batch_norm_groups},
        dtype=None,
    )


def stage_rate_factors(config: Config) -> dict[str, float]:
    """Factors of `--finetune_stage_rates`, but of frozen stages and without the ones.

    Returns:
      For example `{"online/encoder/stem_": .1, "online/encoder/stage1_": .3}`.
    """
    frozen = 0 if config.freeze == "none" else _below(config.freeze)
    factors = dict(zip(_STAGES, config.finetune_stage_rates, strict=False))
    return {
        f"online/encoder/{stage}": factors[stage]
        for stage in _STAGES[frozen:]
        if factors.get(stage, 1.0) != 1.0
    }


def freeze_below(network: keras.Model, level: str) -> None:
    """Freezes stem and stages below a level: no gradient, BatchNorm's averages stay.

    Args:
      network: An encoder of ours.
      level: The lowest that trains, `"P2"` (first stage) to `"P5"` (fourth); `"all"`:
        none does.
    """
    for layer in network.layers:
        if layer.name.startswith(_STAGES[: _below(level)]):
            layer.trainable = False


def _below(level: str) -> int:
    """How many of `_STAGES` are below a level of `--freeze`."""
    return len(_STAGES) if level == "all" else int(level[1]) - 1


def _heads(config: Config) -> dict[str, Any]:
    return {
        "normalization": config.normalization,
        "batch_norm_groups": config.batch_norm_groups,
    }
