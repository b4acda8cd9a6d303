"""Rules on the formats of an export."""

from __future__ import annotations

from collections.abc import Iterator

from tfssl.config.config import Config, modes
from tfssl.config.encoder_name import EncoderSpec, parse_encoder
from tfssl.config.method_row import Rule
from tfssl.errors import ConfigError, message

DEEPEST_TORCHVISION = 152


def _torchvision(config: Config) -> Iterator[str]:
    if config.format != "torchvision" or "export" not in modes(config):
        return
    try:
        spec = parse_encoder(config.encoder)
    except ConfigError:
        return  # reported elsewhere
    reason = without_counterpart(spec, config.encoder_family, config.normalization)
    if reason:
        yield message(
            f"--format=torchvision for --encoder={config.encoder} "
            f"--encoder_family={config.encoder_family} "
            f"--normalization={config.normalization}",
            f"an encoder that torchvision's ResNet can express: {reason}",
            "--format=saved_model or --format=keras",
        )


def without_counterpart(spec: EncoderSpec, family: str, normalization: str) -> str:
    """Why torchvision has no such network; empty if it has one."""
    if normalization != "batch":
        return "its ResNets are those with BatchNorm"
    if family != "moco":
        return (
            f"the family {family} pads strided convolutions or pools otherwise, and "
            "torchvision's layers cannot be told to"
        )
    if spec.sk or spec.cifar:
        return "it has neither selective kernels nor the 32-pixel stem"
    if spec.width != 1 or spec.depth > DEEPEST_TORCHVISION:
        return "it has width 1 and the depths 18, 34, 50, 101 and 152"
    return ""


FIELD_RULES: tuple[Rule, ...] = ()
RULES: tuple[Rule, ...] = (_torchvision,)
