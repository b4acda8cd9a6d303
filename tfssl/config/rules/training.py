"""Rules on the length of a run, its rates, and its evaluation."""

from __future__ import annotations

import math
from collections.abc import Iterator

from tfssl.config.config import Config, known_row
from tfssl.config.launch import MULTIWORKER
from tfssl.config.method_row import WARMUP_SHARE, Rule
from tfssl.config.methods import METHODS
from tfssl.errors import message


def _linear_learning_rates(config: Config) -> Iterator[str]:
    rates = config.linear_learning_rates
    if not rates or not all(0 < rate < math.inf for rate in rates):
        yield message(
            f"--linear_learning_rates={config.text('linear_learning_rates')}",
            "numbers > 0 with commas between them",
            "--linear_learning_rates=0.1,0.3,1",
        )


def _tuning(config: Config) -> Iterator[str]:
    rates, epochs = config.finetune_learning_rate, config.finetune_epochs
    if not rates or not all(0 <= rate < math.inf for rate in rates):
        yield message(
            f"--finetune_learning_rate={config.text('finetune_learning_rate')}",
            "numbers >= 0 with commas between them",
            "--finetune_learning_rate=0.05",
        )
    if not epochs or min(epochs) < 1:
        yield message(
            f"--finetune_epochs={config.text('finetune_epochs')}",
            "whole numbers >= 1 with commas between them",
            "--finetune_epochs=30",
        )
    factors = config.finetune_stage_rates
    if factors and not (len(factors) == 5 and all(0 < f < math.inf for f in factors)):
        yield message(
            f"--finetune_stage_rates={config.text('finetune_stage_rates')}",
            "five numbers > 0 with commas between them: stem, P2, P3, P4, P5",
            "--finetune_stage_rates=0.1,0.1,0.3,1,1, and --freeze for what stays",
        )
    several = len(rates) * len(epochs) > 1
    if several and config.strategy == MULTIWORKER:
        yield message(
            f"{len(rates) * len(epochs)} fine-tunings to choose from with "
            f"--strategy={config.strategy}",
            "one: the chief alone scores them, and all workers would have to know",
            "--strategy=mirrored, or one rate and one number of epochs",
        )


def _length(config: Config) -> Iterator[str]:
    warmup = config.warmup_epochs
    if config.train_steps == 0 and warmup and warmup >= config.epochs:
        yield message(
            f"--warmup_epochs={warmup:g} with --epochs={config.epochs}",
            "a warm-up shorter than the run",
            f"--warmup_epochs={WARMUP_SHARE * config.epochs:g}",
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


def _keepers() -> str:
    names = [name for name, row in METHODS.items() if row.keeps_projector]
    return f"only {' and '.join(names)} keeps layers of its projector"


def _finetune_layer(config: Config) -> Iterator[str]:
    layer, layers = config.finetune_layer, config.projector_layers
    if not layer:
        return
    row = known_row(config.method)
    if row and not row.keeps_projector:
        yield message(
            f"--finetune_layer={layer} with --method={config.method}",
            "0: " + _keepers(),
            "--finetune_layer=0",
        )
    elif layers is not None and layer > layers:
        yield message(
            f"--finetune_layer={layer} with --projector_layers={layers}",
            f"0 to {layers}",
            "--finetune_layer=1",
        )


_READ_WITH = {
    "lr_milestones": ("lr_schedule", ("step",)),
    "lr_decay": ("lr_schedule", ("step", "exponential")),
    "lr_decay_steps": ("lr_schedule", ("exponential",)),
    "lr_staircase": ("lr_schedule", ("exponential",)),
    "lamb_decay": ("optimizer", ("lamb",)),
}
"""Flag to the flag whose value decides whether it is read, and those values."""


def _unread_beside(config: Config) -> Iterator[str]:
    for flag, (other, values) in _READ_WITH.items():
        spec, value = config.specs[other], getattr(config, other)
        if value not in spec.choices:
            continue  # already reported
        if getattr(config, flag) != config.specs[flag].default and value not in values:
            yield message(
                f"--{flag}={config.text(flag)} with --{other}={value}",
                f"--{flag} only with " + " or ".join(values),
                f"leaving --{flag} away, or --{other}={values[0]}",
            )


def _milestones(config: Config) -> Iterator[str]:
    if not config.lr_milestones or config.lr_schedule != "step":
        return
    epochs = config.lr_milestones
    end = math.inf if config.train_steps else config.epochs
    # NaN fails every comparison.
    rising = all(a < b for a, b in zip([0.0, *epochs], [*epochs, end], strict=True))
    if not rising:
        yield message(
            f"--lr_milestones={config.text('lr_milestones')} with "
            f"--epochs={config.epochs}",
            "rising epochs above 0 and before the end, with commas between them",
            f"--lr_milestones={0.6 * config.epochs:g},{0.8 * config.epochs:g}",
        )


FIELD_RULES: tuple[Rule, ...] = (_linear_learning_rates, _tuning)
RULES: tuple[Rule, ...] = (
    _length,
    _epoch_cosine,
    _unread_beside,
    _milestones,
    _finetune_layer,
)
