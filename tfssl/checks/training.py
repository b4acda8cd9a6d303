"""Rules on the length of a run, its rates, and its evaluation."""

from __future__ import annotations

import math
from collections.abc import Iterator

from tfssl import presets
from tfssl.checks.rule import Rule
from tfssl.config import Config
from tfssl.errors import message


def _linear_learning_rates(config: Config) -> Iterator[str]:
    for text in config.linear_learning_rates.split(","):
        try:
            fits = 0 < float(text) < math.inf
        except ValueError:
            fits = False
        if not fits:
            yield message(
                f"--linear_learning_rates={config.linear_learning_rates}",
                f"numbers > 0 with commas between them, not {text!r}",
                "--linear_learning_rates=0.1,0.3,1",
            )


def _length(config: Config) -> Iterator[str]:
    warmup = config.warmup_epochs
    if config.train_steps == 0 and warmup and warmup >= config.epochs:
        yield message(
            f"--warmup_epochs={warmup:g} with --epochs={config.epochs}",
            "a warm-up shorter than the run",
            f"--warmup_epochs={presets.WARMUP_SHARE * config.epochs:g}",
        )


def _epoch_cosine(config: Config) -> Iterator[str]:
    if config.lr_schedule != "epoch_cosine":
        return
    for flag in ("warmup_epochs", "train_steps"):
        if getattr(config, flag):
            yield message(
                f"--{flag}={getattr(config, flag):g} with --lr_schedule=epoch_cosine",
                "whole epochs without a warm-up",
                f"--{flag}=0, or --lr_schedule=cosine",
            )


def _finetune_layer(config: Config) -> Iterator[str]:
    layer, layers = config.finetune_layer, config.projector_layers
    if not layer:
        return
    if config.method != "simclr":
        yield message(
            f"--finetune_layer={layer} with --method={config.method}",
            "0: only SimCLR keeps layers of its projector",
            "--finetune_layer=0",
        )
    elif layers is not None and layer > layers:
        yield message(
            f"--finetune_layer={layer} with --projector_layers={layers}",
            f"0 to {layers}",
            "--finetune_layer=1",
        )


FIELD_RULES: tuple[Rule, ...] = (_linear_learning_rates,)
RULES: tuple[Rule, ...] = (_length, _epoch_cosine, _finetune_layer)
