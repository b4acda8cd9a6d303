"""Rules on data sets and splits."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tfssl import presets
from tfssl.checks.rule import Rule, not_yet
from tfssl.config import Config
from tfssl.errors import message


def _dataset(config: Config) -> Iterator[str]:
    kind, colon, rest = config.dataset.partition(":")
    if kind in presets.DATASETS_PLANNED:
        yield not_yet(f"--dataset={config.dataset}", (presets.DATASET_FORMS,))
    elif kind == "shapes":
        if colon and not re.fullmatch(r"[1-9][0-9]{0,8}", rest):
            yield message(
                f"--dataset={config.dataset}",
                "shapes:N with the number of images N >= 1",
                "--dataset=shapes:5000",
            )
    elif kind not in ("folder", "list", "tfds") or not rest:
        hint = "--dataset=folder:" + (kind if "/" in kind else "DIR")
        yield message(f"--dataset={config.dataset}", presets.DATASET_FORMS, hint)
    if not config.train_split:
        yield message("--train_split=", "the name of a split", "--train_split=train")


def _enough_images(config: Config) -> Iterator[str]:
    kind, _, count = config.dataset.partition(":")
    if kind == "shapes" and count.isdecimal() and 0 < int(count) < config.batch_size:
        yield message(
            f"--dataset={config.dataset} with --batch_size={config.batch_size}",
            "at least one batch of images: twice the same image in a batch is its "
            "own negative",
            f"--dataset=shapes:{config.batch_size}, or a smaller --batch_size",
        )


FIELD_RULES: tuple[Rule, ...] = (_dataset,)
RULES: tuple[Rule, ...] = (_enough_images,)
