"""Rules on data sets and splits."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tfssl.config import tables
from tfssl.config.config import Config
from tfssl.config.method_row import Rule
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
    share = config.label_fraction
    if isinstance(share, str):
        share = 1.0 if share else 0.0  # a file, which is looked for elsewhere
    if not 0 < share <= 1:
        yield message(
            f"--label_fraction={config.text('label_fraction')}",
            "a share above 0 and at most 1, or a file with a file name a line",
            "--label_fraction=0.1",
        )


def _enough_images(config: Config) -> Iterator[str]:
    if config.source:  # imported weights train nothing
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
