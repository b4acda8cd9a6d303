"""`--mode=segment`: the class of every pixel, on top of a trained encoder."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tfssl import build
from tfssl.build import segmentation
from tfssl.build.dense import start_of
from tfssl.build.segmentation import CLASSES
from tfssl.config import Config
from tfssl.config.flag import specs_of
from tfssl.config.groups import Images, Network
from tfssl.config.segment_flags import SegmentFlags
from tfssl.data import Source
from tfssl.data.mask_files import coloured
from tfssl.errors import printable
from tfssl.evaluate.segmentation import PixelCounts, by_class
from tfssl.runs import RunDirectory
from tfssl.runs.pictures import Strip, write_pictures
from tfssl.runs.scores import SCRATCH, TRAINED, Counts, Score
from tfssl.show import console
from tfssl.tasks import Outcome
from tfssl.tasks.own_run import OwnRun

SHOWN = 12
"""Held-out images whose masks the report shows."""


def run(config: Config) -> Outcome:
    """Trains DeepLabV3+ in `run_dir/segment` and scores it.

    Protocol: encoder and head are trained together, SGD with momentum .9, views scaled,
    cropped and flipped with their masks; pixels of class 255 count nowhere. Held-out
    images are shown whole, and scored at their own size. With
    `--segment_weights=random` the encoder has learned nothing, and the folder is
    `run_dir/segment_random`.

    Raises:
      RunDirectoryError: The folder holds a segmentation with other flags.
      Stopped: A signal ended it after a checkpoint.
    """
    data, held_out = segmentation.mask_sources(config)
    build.require_batch(config, data, "segment_batch_size")

    def train(settings: Config, own: RunDirectory | None) -> None:
        job = segmentation.segmentation(config, data)
        views = functools.partial(segmentation.first_views, config, data)
        texts = {CLASSES: json.dumps(list(data.pixel_classes))}
        _SEGMENTING.train(settings, own, job, views, texts)

    score = functools.partial(_score, config, data, held_out)
    return _SEGMENTING.run_from(config, start_of(config, "segment"), train, score)


def _score(config: Config, data: Source, held_out: Source, own: RunDirectory) -> Score:
    """Scores held-out images at their own size, in float32, and writes pictures."""
    segmenter = segmentation.load_segmenter(own.path)
    names = segmenter.class_names
    counts = PixelCounts(len(names))
    every = max(held_out.num_examples // SHOWN, 1)
    strips = []
    for index, mask in segmenter.masks(held_out):
        truth = held_out.mask(tf.constant(index, tf.int64)).numpy()[..., 0]
        counts.add(truth, mask)
        if index % every == 0 and len(strips) < SHOWN:
            image = held_out.example(tf.constant(index, tf.int64))["image"].numpy()
            panels = [image, coloured(truth), coloured(mask)]
            strips.append(Strip(held_out.where(index), panels))
    write_pictures(own, strips, ("image", "truth", "prediction"))
    classes = by_class(counts, names)
    seen = [c for c in classes if c.iou is not None]
    found = {"iou": {c.name: c.iou for c in classes}}
    lost = [c.name for c in classes if c.iou == 0]
    note = _never_right(config, lost, len(seen)) if lost else ""
    if note:
        console.say(f"segmentation: {note}")
    return Score(
        "segment",
        held_out.name,
        SCRATCH if config.segment_weights == "random" else TRAINED,
        counts.metrics(),
        _settings(config, data),
        counts=Counts(
            held_out.num_examples,
            counts.images,
            held_out.num_examples - counts.images,
            classes=len(names),
        ),
        found=found,
        note=note,
        description=(
            f"DeepLabV3+ over P2 and P5, {config.segment_width} channels, trained on "
            f"{data.num_examples} images with masks for {config.segment_steps} steps "
            f"of {config.segment_batch_size}, SGD, {config.segment_schedule} from "
            f"{config.segment_learning_rate:g}, decay "
            f"{config.segment_weight_decay:g}, scales {config.text('segment_scales')}, "
            f"crop {config.image_size} and flip"
            f"{_balanced(config)}{_frozen(config)}; mean over {len(seen)} of "
            f"{len(names)} classes, on {counts.images} held-out images fitted into "
            f"{config.image_size} pixels and scored at their own size"
        ),
        confusion=counts.confusion(names),
    )


def _never_right(config: Config, lost: Sequence[str], seen: int) -> str:
    """Where most pixels are background, what is learned first is to say it always."""
    more = "" if config.segment_balance else ", or segment_balance=0.5 for rare classes"
    return (
        f"not one pixel is right of {len(lost)} of {seen} classes, such as "
        f"{printable(lost[0])}: try more segment_steps{more}"
    )


def _balanced(config: Config) -> str:
    power = config.segment_balance
    return f", pixels weighted by their class's share ** -{power:g}" if power else ""


def _frozen(config: Config) -> str:
    if config.freeze == "none":
        return ""
    part = "the encoder" if config.freeze == "all" else f"below {config.freeze}"
    return f", {part} frozen"


def _settings(config: Config, data: Source) -> dict[str, Any]:
    found = {
        "steps": config.segment_steps,
        "batch_size": config.segment_batch_size,
        "images": data.num_examples,
    }
    if config.segment_balance:
        found["balance"] = config.segment_balance
    return found | ({"freeze": config.freeze} if config.freeze != "none" else {})


_SEGMENTING = OwnRun(
    "segment",
    {*specs_of(SegmentFlags), *specs_of(Network), *specs_of(Images)}
    | {"precision", "dataset", "train_split", "seed", "init_from", "freeze"},
    ("a segmentation", "segmenting"),
)
