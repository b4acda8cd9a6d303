"""Rules on data sets and splits."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tfssl.config import tables
from tfssl.config.config import Config, modes
from tfssl.config.label_cells import fractions, is_curve
from tfssl.config.launch import MULTIWORKER
from tfssl.config.method_row import Rule
from tfssl.config.tasks import TASKS
from tfssl.errors import message


def _dataset(config: Config) -> Iterator[str]:
    kind, colon, rest = config.dataset.partition(":")
    if kind == "shapes":
        if colon and not re.fullmatch(r"[1-9][0-9]{0,8}", rest):
            yield message(
                f"--dataset={config.dataset}",
                "shapes:N with the number of images N >= 1",
                "--dataset=shapes:5000",
            )
    elif kind not in tables.DATASETS or not rest:
        hint = "--dataset=folder:" + (kind if "/" in kind else "DIR")
        yield message(f"--dataset={config.dataset}", tables.DATASET_FORMS, hint)
    if not config.train_split:
        yield message("--train_split=", "the name of a split", "--train_split=train")


def _features(config: Config) -> Iterator[str]:
    if not config.tfrecord_image_key:
        yield message(
            "--tfrecord_image_key=",
            "the name of the feature that holds the image",
            "--tfrecord_image_key=image/encoded",
        )


def _label_fraction(config: Config) -> Iterator[str]:
    shares = fractions(config.label_fraction)
    for share in shares:
        if isinstance(share, str):
            share = 1.0 if share else 0.0  # a file, which is looked for elsewhere
        a_class = share > 1 and float(share).is_integer()
        if not (0 < share <= 1 or a_class):
            yield message(
                f"--label_fraction={config.text('label_fraction')}",
                "a share above 0 and at most 1, a whole number of images a class, or a "
                "file with a file name a line",
                "--label_fraction=0.1",
            )
            return
    asked = modes(config)
    if len(set(shares)) < len(shares):
        yield message(
            f"--label_fraction={config.text('label_fraction')}",
            "each fraction once",
            "--label_seeds=3 for several draws",
        )
    if is_curve(config) and config.strategy == MULTIWORKER:
        yield message(
            f"a learning curve with --strategy={config.strategy}",
            "one machine: its points are short",
            "--strategy=mirrored",
        )
    before = asked[: asked.index("distill")] if "distill" in asked else ["finetune"]
    if is_curve(config) and not config.teacher and "finetune" not in before:
        yield message(
            f"a learning curve with --mode={config.mode} without --teacher",
            "a fine-tuned teacher for each point",
            "finetune before distill: points that are done are left alone",
        )


def _enough_images(config: Config) -> Iterator[str]:
    if config.source:  # imported weights train nothing
        return
    asked = [TASKS[mode] for mode in modes(config) if mode in TASKS]
    if asked and not any("batch_size" in task.flags() for task in asked):
        return
    kind, _, count = config.dataset.partition(":")
    if kind == "shapes" and count.isdecimal() and 0 < int(count) < config.batch_size:
        yield message(
            f"--dataset={config.dataset} with --batch_size={config.batch_size}",
            "at least one batch of images: twice the same image in a batch is its "
            "own negative",
            f"--dataset=shapes:{config.batch_size}, or a smaller --batch_size",
        )


FIELD_RULES: tuple[Rule, ...] = (_dataset, _features, _label_fraction)
RULES: tuple[Rule, ...] = (_enough_images,)
