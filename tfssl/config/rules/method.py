"""Rules on method, encoder and heads."""

from __future__ import annotations

from collections.abc import Iterator

from tfssl.config import SPECS, Config, left_open, presets
from tfssl.config.augment_name import check_augment, figure5_operators
from tfssl.config.encoder_name import check_image_size, is_foreign, parse_encoder
from tfssl.config.rules.rule import Rule
from tfssl.errors import ConfigError, message

LARGEST_CIFAR_STEM_IMAGE = 128
SMALLEST_STANDARD_STEM_IMAGE = 64


def _encoder(config: Config) -> Iterator[str]:
    if is_foreign(config.encoder):
        return  # see foreign_encoder
    try:
        spec = parse_encoder(config.encoder)
    except ConfigError as error:
        yield from error.problems
        return
    size = config.image_size
    if size < (SPECS["image_size"].low or 0):
        return  # already reported
    if spec.cifar and size > LARGEST_CIFAR_STEM_IMAGE:
        yield message(
            f"--encoder={config.encoder} with --image_size={size}",
            f"images up to {LARGEST_CIFAR_STEM_IMAGE} pixels for the 32-pixel stem",
            f"--encoder={config.encoder.replace('_cifar', '')}",
        )
    if not spec.cifar and size < SMALLEST_STANDARD_STEM_IMAGE:
        yield message(
            f"--encoder={config.encoder} with --image_size={size}",
            f"images of {SMALLEST_STANDARD_STEM_IMAGE} pixels or more: its stages "
            "divide the side by 32",
            f"--encoder={config.encoder}_cifar, or a larger --image_size",
        )
        return
    try:
        check_image_size(spec, size)
    except ConfigError as error:
        yield from error.problems


def _other_methods_flags(config: Config) -> Iterator[str]:
    if config.method not in presets.METHODS:
        return  # already reported
    for name, methods in presets.METHOD_FLAGS.items():
        value = getattr(config, name)
        if config.method in methods or left_open(name, value) or value is False:
            continue
        yield message(
            f"--{name}={value} with --method={config.method}",
            f"--{name} only with " + " or ".join(methods),
            f"leaving --{name} away, or --method={methods[0]}",
        )


def _augment(config: Config) -> Iterator[str]:
    if left_open("augment", config.augment):
        return
    try:
        check_augment(config.augment)
        operators = figure5_operators(config.augment)
    except ConfigError as error:
        yield from error.problems
        return
    if operators and config.jitter_strength != 1:
        yield message(
            f"--jitter_strength={config.jitter_strength:g} with "
            f"--augment={config.augment}",
            "1: the figure is drawn at one strength",
            "leaving --jitter_strength away",
        )


def _moco_layers(config: Config) -> Iterator[str]:
    layers = config.projector_layers
    if config.method == "moco" and layers is not None and layers > 2:
        yield message(
            f"--projector_layers={layers} with --method=moco",
            "1 (MoCo v1) or 2 (MoCo v2)",
            "--projector_layers=2",
        )


def _queue(config: Config) -> Iterator[str]:
    if config.method not in ("simclr", "moco") or config.source:
        return  # imported weights train nothing
    if config.dictionary == "batch":
        return  # it has no queue, see below
    size = config.queue_size
    if size is None or size < 0 or config.batch_size < 1:
        return
    if size == 0 and config.method == "moco":
        yield message("--queue_size=0 with --method=moco", "keys", "--queue_size=4096")
    if config.dictionary == "bank":
        return
    both = config.symmetric or config.method == "simclr"
    keys = config.batch_size * (2 if both else 1)
    if size % keys:
        why = " (both views are enqueued)" if both else ""
        yield message(
            f"--queue_size={size} with --batch_size={config.batch_size}",
            f"a multiple of {'twice ' * both}--batch_size{why}: a step replaces {keys} "
            "keys whole",
            f"--queue_size={max(1, round(size / keys)) * keys}",
        )


def _memory(config: Config) -> Iterator[str]:
    momentum = config.ema_momentum
    if config.method == "simclr" and not config.queue_size and momentum is not None:
        yield message(
            f"--ema_momentum={momentum} with --method=simclr without a memory",
            "--ema_momentum only with byol, moco, or SimCLR v2's memory",
            "--queue_size=65536",
        )


def _dictionary(config: Config) -> Iterator[str]:
    if config.method != "moco":
        return
    if config.dictionary == "batch":
        for flag in ("queue_size", "ema_momentum"):
            if getattr(config, flag) is not None:
                yield message(
                    f"--{flag}={getattr(config, flag)} with --dictionary=batch",
                    "neither: the keys are the batch's, and nothing follows",
                    f"leaving --{flag} away, or --dictionary=queue",
                )
    if config.dictionary == "bank" and config.symmetric:
        yield message(
            "--symmetric with --dictionary=bank",
            "one direction: the key is the image's own feature, not a view's",
            "--nosymmetric, or --dictionary=batch",
        )


def _batch_norm_groups(config: Config) -> Iterator[str]:
    groups, batch = config.batch_norm_groups, config.batch_size
    if groups > 0 and (batch % groups or batch // groups < 2):
        fits = [g for g in range(1, groups + 1) if batch % g == 0 and batch // g > 1]
        yield message(
            f"--batch_norm_groups={groups} with --batch_size={batch}",
            "groups of one size, at least 2 images each",
            f"--batch_norm_groups={max(fits, default=0)}",
        )


def _other_normalization(config: Config) -> Iterator[str]:
    if config.normalization == "batch" or not config.batch_norm_groups:
        return
    yield message(
        f"--batch_norm_groups={config.batch_norm_groups} with "
        f"--normalization={config.normalization}",
        "--normalization=batch: the others look at one image at a time",
        "--batch_norm_groups=0",
    )


def _interleaved(config: Config) -> Iterator[str]:
    if not config.batch_norm_interleaved or config.method != "moco":
        return
    if config.batch_norm_groups < 2:
        yield message(
            f"--batch_norm_interleaved with "
            f"--batch_norm_groups={config.batch_norm_groups}",
            "groups to interleave",
            "--batch_norm_groups=8",
        )
    if config.virtual_devices > 1:
        yield message(
            f"--batch_norm_interleaved with --virtual_devices={config.virtual_devices}",
            "one replica: interleaved groups cross from one to the other",
            "--nobatch_norm_interleaved, or --strategy=one --virtual_devices=0",
        )


FIELD_RULES: tuple[Rule, ...] = (_augment,)
RULES: tuple[Rule, ...] = (
    _encoder,
    _other_methods_flags,
    _moco_layers,
    _queue,
    _memory,
    _dictionary,
    _batch_norm_groups,
    _other_normalization,
    _interleaved,
)
