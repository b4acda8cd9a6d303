"""Rules on distillation: who teaches whom, and what."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

from tfssl.config.config import Config, modes
from tfssl.config.encoder_name import (
    check_image_size,
    is_foreign,
    is_import_path,
    parse_encoder,
    parse_foreign,
)
from tfssl.config.method_row import Rule
from tfssl.errors import ConfigError, message

WITHOUT_CLASSES = ("pretrain", "convert", "doctor")
"""Modes after which there is no classifier of the command's own making."""


def _module(config: Config) -> Iterator[str]:
    if not is_import_path(config.teacher):
        return
    package = parse_foreign(config.teacher).module.partition(".")[0]
    if importlib.util.find_spec(package) is None:
        yield message(
            f"--teacher={config.teacher}, and no module {package}",
            "a module that Python can import, or a run directory",
            f"PYTHONPATH=FOLDER, the folder that {package} is in",
        )


def _students(config: Config) -> Iterator[str]:
    """Each student's name and size; and no more names than students."""
    for name in config.student_encoder:
        try:
            if is_foreign(name):
                parse_foreign(name)
            else:
                check_image_size(parse_encoder(name), config.image_size)
        except ConfigError as error:
            yield from (
                problem.replace("--encoder", "--student_encoder")
                for problem in error.problems
            )
    asked = modes(config).count("distill")
    if asked and len(config.student_encoder) > asked:
        yield message(
            f"--student_encoder={config.text('student_encoder')} with "
            f"{asked} distillation{'s' * (asked > 1)}",
            "at most one encoder for each",
            "--mode=" + ",".join([config.mode, "distill"]),
        )


def _teacher(config: Config) -> Iterator[str]:
    """A chain in which nobody has a classifier to teach with."""
    names = modes(config)
    if "distill" not in names or config.teacher or config.distill_target == "features":
        return
    before = names[: names.index("distill")]
    if before and set(before).isdisjoint({"finetune"}) and _begins(before):
        yield message(
            f"--mode={config.mode} without --teacher",
            "a teacher with a classifier before distill",
            "--mode="
            + ",".join([*before, "finetune", *names[len(before) :]])
            + ", --teacher=RUN, or --distill_target=features",
        )


def _begins(before: list[str]) -> bool:
    return any(name in WITHOUT_CLASSES for name in before)


def _features(config: Config) -> Iterator[str]:
    if "distill" not in modes(config) or config.distill_target != "features":
        return
    for flag, why in (
        ("distill_alpha", "labels need a classifier"),
        ("distill_temperature", "features have none"),
    ):
        if getattr(config, flag) != config.specs[flag].default:
            yield message(
                f"--{flag}={config.text(flag)} with --distill_target=features",
                f"--distill_target=classes with it: {why}",
                f"leaving --{flag} away",
            )


def _proportion(config: Config) -> Iterator[str]:
    share, default = (
        config.distill_labelled_share,
        config.specs["distill_labelled_share"].default,
    )
    if "distill" in modes(config) and config.distill_alpha == 1 and share != default:
        yield message(
            f"--distill_labelled_share={share:g} with --distill_alpha=1",
            "--distill_alpha below 1, with which labels count",
            "--distill_alpha=0.9",
        )


FIELD_RULES: tuple[Rule, ...] = (_module,)
RULES: tuple[Rule, ...] = (_students, _teacher, _features, _proportion)
