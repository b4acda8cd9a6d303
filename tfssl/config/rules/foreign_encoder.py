"""Rules on encoders by import path: what cannot be asked of a network not ours."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

from tfssl.config.config import Config, known_row, modes
from tfssl.config.encoder_name import is_foreign, parse_foreign
from tfssl.config.method_row import Rule
from tfssl.errors import ConfigError, message


def _path(config: Config) -> Iterator[str]:
    if not is_foreign(config.encoder) or "convert" in modes(config):
        return
    try:
        package = parse_foreign(config.encoder).module.partition(".")[0]
    except ConfigError as error:
        yield from error.problems
        return
    # Only the package: looking into it would import it, and TensorFlow with it.
    if importlib.util.find_spec(package) is None:
        yield message(
            f"--encoder={config.encoder}, and no module {package}",
            "a module that Python can import",
            f"PYTHONPATH=FOLDER, the folder that {package} is in",
        )


_OURS_ALONE: dict[str, object] = {
    "zero_init_last_gamma": None,
    "normalization": "batch",
    "batch_norm_groups": 0,
    "freeze": "none",
    "finetune_stage_rates": (),
}


def _left_as_it_is(config: Config) -> Iterator[str]:
    if not is_foreign(config.encoder):
        return
    for flag, default in _OURS_ALONE.items():
        if getattr(config, flag) != default:
            yield message(
                f"--{flag}={config.text(flag)} with --encoder={config.encoder}",
                "one of our encoders: the layers of others stay as they are",
                f"leaving --{flag} away",
            )
    row = known_row(config.method)
    if config.micro_batches > 1 and row and row.couples_rows(config):
        yield message(
            f"--micro_batches={config.micro_batches} with --encoder={config.encoder}",
            "--micro_batches=1: the second forward pass that this loss needs would "
            "move BatchNorm's averages again and draw other dropout",
            "--micro_batches=1, or one of our encoders",
        )


def _torchvision(config: Config) -> Iterator[str]:
    if config.format != "torchvision" or "export" not in modes(config):
        return
    if is_foreign(config.encoder):
        yield message(
            f"--format=torchvision for --encoder={config.encoder}",
            "one of our ResNets",
            "--format=saved_model or --format=keras",
        )


FIELD_RULES: tuple[Rule, ...] = (_path,)
RULES: tuple[Rule, ...] = (_left_as_it_is, _torchvision)
