"""Every rule that a `Config` must obey; all broken ones are reported at once.

Layer 0, no TensorFlow: a wrong flag answers before the slow import.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator

from tfssl import presets
from tfssl.config import SPECS, Config, left_open, modes, resolve
from tfssl.encoder_name import check_image_size, parse_encoder
from tfssl.errors import ConfigError, message, unknown

LARGEST_CIFAR_STEM_IMAGE = 128
SMALLEST_STANDARD_STEM_IMAGE = 64


def validate(config: Config) -> list[str]:
    """Finds all problems of a configuration.

    Args:
      config: As given, or as `tfssl.config.resolve` left it; both get one answer.

    Returns:
      One finished "got …; expected …; try …" sentence per problem; empty if none.
    """
    problems = field_problems(config)
    config = resolve(config)
    for rule in _RULES:
        problems += rule(config)
    return problems


def field_problems(config: Config) -> list[str]:
    """The problems that one flag has by itself: type, bounds, choices, grammar."""
    problems: list[str] = []
    for name, spec in SPECS.items():
        value = getattr(config, name)
        if left_open(name, value):
            continue
        if name == "strategy" and value in presets.STRATEGIES_PLANNED:
            problems.append(_not_yet(f"--strategy={value}", spec.choices))
        elif spec.choices and value not in spec.choices:
            problems.append(unknown(f"--{name}", value, spec.choices))
        elif spec.kind in (int, float):
            problems += _out_of_bounds(name, value)
        elif spec.kind is str and not str(value).isprintable():
            problems.append(
                message(f"--{name}={value!r}", "printable text", f"--{name} on a line")
            )
    for rule in _FIELD_RULES:
        problems += rule(config)
    return problems


def _not_yet(got: str, available: tuple[str, ...]) -> str:
    return message(
        f"{got}, which is not available in this version",
        "one of " + ", ".join(available),
        "one of these",
    )


def _out_of_bounds(name: str, value: float) -> Iterator[str]:
    spec = SPECS[name]
    near = spec.default or 1
    bounds: list[tuple[bool, str, float]] = []
    if spec.low is not None:
        bounds.append((value >= spec.low, f">= {spec.low:.10g}", spec.low))
    if spec.above is not None:
        bounds.append((value > spec.above, f"> {spec.above:.10g}", near))
    if spec.high is not None:
        bounds.append((value <= spec.high, f"<= {spec.high:.10g}", spec.high))
    if not math.isfinite(value):
        bounds.append((False, "finite", near))
    broken = [instead for holds, _, instead in bounds if not holds]
    if broken:
        expected = "a number " + " and ".join(text for _, text, _ in bounds)
        yield message(f"--{name}={value}", expected, f"--{name}={broken[-1]:.10g}")


def _mode(config: Config) -> Iterator[str]:
    names = modes(config)
    if not names:
        known = ", ".join(presets.MODES_AVAILABLE)
        yield message("--mode without a mode", f"one of {known}", "--mode=pretrain")
    for name in names:
        if name in presets.MODES_PLANNED:
            yield _not_yet(f"--mode={name}", presets.MODES_AVAILABLE)
        elif name not in presets.MODES_AVAILABLE:
            yield unknown("--mode", name, presets.MODES_AVAILABLE)
    if "pretrain" in names[1:]:
        yield message(
            f"--mode={config.mode}",
            "pretrain first: the other modes need what it trains",
            "--mode=" + ",".join(sorted(names, key=lambda name: name != "pretrain")),
        )


def _run_dir(config: Config) -> Iterator[str]:
    if not config.run_dir:
        yield message("no --run_dir", "a folder for this run", "--run_dir=runs/first")


def _dataset(config: Config) -> Iterator[str]:
    kind, colon, rest = config.dataset.partition(":")
    if kind in presets.DATASETS_PLANNED:
        yield _not_yet(f"--dataset={config.dataset}", (presets.DATASET_FORMS,))
    elif kind == "shapes":
        if colon and not re.fullmatch(r"[1-9][0-9]{0,8}", rest):
            yield message(
                f"--dataset={config.dataset}",
                "shapes:N with the number of images N >= 1",
                "--dataset=shapes:5000",
            )
    elif kind not in ("folder", "tfds") or not rest:
        hint = "--dataset=folder:" + (kind if "/" in kind else "DIR")
        yield message(f"--dataset={config.dataset}", presets.DATASET_FORMS, hint)
    if not config.train_split:
        yield message("--train_split=", "the name of a split", "--train_split=train")


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


def _encoder(config: Config) -> Iterator[str]:
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


def _moco_layers(config: Config) -> Iterator[str]:
    layers = config.projector_layers
    if config.method == "moco" and layers is not None and layers > 2:
        yield message(
            f"--projector_layers={layers} with --method=moco",
            "1 (MoCo v1) or 2 (MoCo v2)",
            "--projector_layers=2",
        )


def _queue(config: Config) -> Iterator[str]:
    if config.method != "moco" or not config.queue_size or config.batch_size < 1:
        return
    keys = config.batch_size * (2 if config.symmetric else 1)
    if config.queue_size % keys:
        what = (
            "twice --batch_size (--symmetric)" if config.symmetric else "--batch_size"
        )
        yield message(
            f"--queue_size={config.queue_size} with --batch_size={config.batch_size}",
            f"a multiple of {what}: a step replaces {keys} keys whole",
            f"--queue_size={max(1, round(config.queue_size / keys)) * keys}",
        )


def _replicas(config: Config) -> Iterator[str]:
    count = config.virtual_devices
    if count > 1 and config.strategy != "mirrored":
        yield message(
            f"--virtual_devices={count} with --strategy={config.strategy}",
            "--strategy=mirrored, which uses several devices",
            "--strategy=mirrored",
        )
    for flag in ("batch_size", "linear_batch_size", "batch_norm_groups"):
        value = getattr(config, flag)
        if count > 1 and value > 0 and value % count:
            yield message(
                f"--{flag}={value} with --virtual_devices={count}",
                f"a multiple of {count}: every device gets as many",
                f"--{flag}={-(-value // count) * count}",
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


def _enough_images(config: Config) -> Iterator[str]:
    kind, _, count = config.dataset.partition(":")
    if kind == "shapes" and count.isdecimal() and 0 < int(count) < config.batch_size:
        yield message(
            f"--dataset={config.dataset} with --batch_size={config.batch_size}",
            "at least one batch of images: twice the same image in a batch is its "
            "own negative",
            f"--dataset=shapes:{config.batch_size}, or a smaller --batch_size",
        )


Rule = Callable[[Config], Iterator[str]]
_FIELD_RULES: tuple[Rule, ...] = (_mode, _run_dir, _dataset, _linear_learning_rates)
_RULES: tuple[Rule, ...] = (
    _encoder,
    _other_methods_flags,
    _moco_layers,
    _queue,
    _replicas,
    _batch_norm_groups,
    _length,
    _epoch_cosine,
    _enough_images,
)
