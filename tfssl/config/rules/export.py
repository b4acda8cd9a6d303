"""Rules on the formats of an export."""

from __future__ import annotations

from collections.abc import Iterator

from tfssl.config.config import Config, modes
from tfssl.config.encoder_name import EncoderSpec, parse_encoder
from tfssl.config.method_row import Rule
from tfssl.config.tables import EXPORT_EXTRAS, without_extra
from tfssl.errors import ConfigError, message

DEEPEST_TORCHVISION = 152


def _format(config: Config) -> Iterator[str]:
    if "export" not in modes(config):
        return
    if config.format == "torchvision":
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
            return
    extra = EXPORT_EXTRAS.get(config.format)
    if extra and (problem := without_extra(extra, f"--format={config.format}")):
        yield problem


def _of_one_format(config: Config) -> Iterator[str]:
    """Flags that one format reads."""
    if "export" not in modes(config):
        return
    if config.export_dtype != "float32" and config.format != "litert":
        yield message(
            f"--export_dtype={config.export_dtype} with --format={config.format}",
            "--format=litert, which alone stores other numbers than float32",
            "--format=litert, or leaving --export_dtype away",
        )
    if config.export_versions and config.format != "saved_model":
        yield message(
            f"--export_versions with --format={config.format}",
            "--format=saved_model, whose server reads numbered folders",
            "--format=saved_model, or leaving --export_versions away",
        )


def without_counterpart(spec: EncoderSpec, family: str, normalization: str) -> str:
    """Why torchvision has no such network, all reasons; empty if it has one."""
    reasons = {
        "its ResNets are those with BatchNorm": normalization != "batch",
        f"the family {family} pads strided convolutions or pools otherwise, and "
        "torchvision's layers cannot be told to": family != "moco",
        "it has neither selective kernels nor the 32-pixel stem": (
            spec.sk or spec.cifar
        ),
        "its width is 1 and its depth at most 152": (
            spec.width != 1 or spec.depth > DEEPEST_TORCHVISION
        ),
    }
    return "; ".join(reason for reason, holds in reasons.items() if holds)


FIELD_RULES: tuple[Rule, ...] = ()
RULES: tuple[Rule, ...] = (_format, _of_one_format)
