"""Rules on importing published weights."""

from __future__ import annotations

from collections.abc import Iterator

from tfssl.config import tables
from tfssl.config.config import Config, modes
from tfssl.config.encoder_name import parse_encoder
from tfssl.config.method_row import Rule
from tfssl.errors import ConfigError, message, unknown

_FORM = "KIND:PATH with KIND one of " + ", ".join(tables.SOURCE_KINDS)


def _source(config: Config) -> Iterator[str]:
    if "convert" not in modes(config):
        return
    kind, _, path = config.source.partition(":")
    if not config.source:
        example = "--source=byol:pretrain_res50x1.pkl"
        yield message("--mode=convert without --source", _FORM, example)
    elif kind not in tables.SOURCE_KINDS:
        yield unknown("--source", kind, (f"{k}:PATH" for k in tables.SOURCE_KINDS))
    elif not path or "://" in path:
        yield message(
            f"--source={config.source}",
            _FORM + " and PATH on this machine",
            f"--source={kind}:PATH after gsutil cp -r, or curl -O"
            if path
            else f"--source={kind}:PATH",
        )


def _alone(config: Config) -> Iterator[str]:
    names = modes(config)
    if "convert" not in names:
        return
    if names[0] != "convert" or "pretrain" in names:
        rest = [name for name in names if name not in ("convert", "pretrain")]
        yield message(
            f"--mode={config.mode}",
            "convert first, and pretrain in a run directory of its own",
            "--mode=" + ",".join(["convert", *rest]),
        )
    if config.init_from:
        yield message(
            f"--init_from={config.init_from} with --mode=convert",
            "weights from --source",
            "leaving --init_from away",
        )


def _encoder(config: Config) -> Iterator[str]:
    if "convert" in modes(config) and config.encoder:
        try:
            parse_encoder(config.encoder)
        except ConfigError as error:
            yield from error.problems


def _normalization(config: Config) -> Iterator[str]:
    if "convert" in modes(config) and config.normalization != "batch":
        yield message(
            f"--normalization={config.normalization} with --mode=convert",
            "batch: the published weights are those of networks with BatchNorm",
            "leaving --normalization away",
        )


FIELD_RULES: tuple[Rule, ...] = (_source, _alone, _encoder, _normalization)
RULES: tuple[Rule, ...] = ()
