"""Rules on method, encoder and heads; a method's own rules stand with its row."""

from __future__ import annotations

from collections.abc import Iterator

from tfssl.config.augment_name import check_augment, figure5_operators
from tfssl.config.config import Config, known_row, method_row, owners
from tfssl.config.encoder_name import check_image_size, is_foreign, parse_encoder
from tfssl.config.method_row import Rule
from tfssl.errors import ConfigError, message

LARGEST_CIFAR_STEM_IMAGE = 128
SMALLEST_STANDARD_STEM_IMAGE = 64


def _method(config: Config) -> Iterator[str]:
    try:
        method_row(config.method)
    except ConfigError as error:
        yield from error.problems


def _encoder(config: Config) -> Iterator[str]:
    if is_foreign(config.encoder):
        return  # see foreign_encoder
    try:
        spec = parse_encoder(config.encoder)
    except ConfigError as error:
        yield from error.problems
        return
    size = config.image_size
    if size < (config.specs["image_size"].low or 0):
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
    row = known_row(config.method)
    if row is None:
        return  # already reported
    own = row.specs()
    for name, spec in config.specs.items():
        methods = owners(name)
        value = getattr(config, name)
        if name in own or not methods or spec.left_open(value) or value is False:
            continue
        yield message(
            f"--{name}={config.text(name)} with --method={config.method}",
            f"--{name} only with " + " or ".join(methods),
            f"leaving --{name} away, or --method={methods[0]}",
        )


def _augment(config: Config) -> Iterator[str]:
    if config.left_open("augment"):
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


FIELD_RULES: tuple[Rule, ...] = (_method, _augment)
RULES: tuple[Rule, ...] = (
    _encoder,
    _other_methods_flags,
    _batch_norm_groups,
    _other_normalization,
)
