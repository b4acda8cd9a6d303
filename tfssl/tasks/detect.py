"""`--mode=detect`: trains a detector on an encoder, and scores it by COCO and VOC."""

from __future__ import annotations

import functools

import numpy as np
import tensorflow as tf

from tfssl import build
from tfssl.build import detection
from tfssl.build.dense import start_of
from tfssl.build.trained import CLASSES, classes_text
from tfssl.config import Config
from tfssl.config.detect_flags import DetectFlags, RegionFlags
from tfssl.config.flag import specs_of
from tfssl.data import Source
from tfssl.evaluate.detection import Detected, Found, Truth, score_boxes
from tfssl.runs import RunDirectory
from tfssl.runs.pictures import Strip, write_pictures
from tfssl.runs.scores import SCRATCH, TRAINED, Counts, Score
from tfssl.show import boxes, console
from tfssl.tasks import Outcome
from tfssl.tasks.own_run import OwnRun

SHOWN = 12
"""Held-out images whose boxes the report shows."""


def run(config: Config) -> Outcome:
    """Trains into `run_dir/detect` and scores the detector on held-out images.

    Protocol: all layers are tuned, BatchNorm too, whose statistics are those of the
    whole batch on any number of replicas (MoCo, section 4.2); SGD with momentum .9,
    warm-up, a tenth of the rate twice; images scaled at random, cropped or padded to a
    square, flipped. Held-out images are shown whole, and boxes scored in their pixels.

    The folder is a run directory of its own. With `--detect_weights=random` the same is
    trained from the seed into `run_dir/detect_random`: its score stands beside.

    Raises:
      RunDirectoryError: The folder holds a detection with other flags.
      Stopped: A signal ended it after a checkpoint.
    """
    data, held_out = detection.boxes_sources(config)
    build.require_batch(config, data, "detect_batch_size")

    def train(settings: Config, own: RunDirectory | None) -> None:
        job = detection.detection(config, data)
        texts = {CLASSES: classes_text(data.objects.class_names)}
        _DETECTING.train(settings, own, job, None, texts)

    score = functools.partial(_score, config, data, held_out)
    return _DETECTING.run_from(config, start_of(config, "detect"), train, score)


def _score(config: Config, data: Source, held_out: Source, own: RunDirectory) -> Score:
    """AP in float32 with moving statistics; pictures for the report are written."""
    known, strange = held_out.objects.in_classes(data.objects.class_names)
    truth = [Truth(*image) for image in known.images]
    note = ", ".join(f"{count} of {name}" for name, count in strange.items())
    if note:
        note = f"objects of classes that training lacks are not asked for: {note}"
        console.say(note)
    detector = detection.load(own.path)
    found = detector.find(held_out)
    places = sorted(found)
    asked, said = [truth[p] for p in places], [found[p] for p in places]
    scored = score_boxes(asked, said, detector.class_names)
    _write_pictures(own, held_out, detector.class_names, truth, found)
    total = held_out.num_examples
    counts = Counts(total, len(found), total - len(found))
    return Score(
        "detect",
        held_out.name,
        SCRATCH if config.detect_weights == "random" else TRAINED,
        scored.metrics,
        {
            "detector": config.detector,
            "steps": config.detect_steps,
            "batch_size": config.detect_batch_size,
            "images": data.num_examples,
            "image_size": config.image_size,
        }
        | ({} if config.freeze == "none" else {"freeze": config.freeze}),
        {},
        counts,
        {
            "objects": scored.objects,
            "by_class": scored.by_class,
            "precision": scored.precision.round(5).tolist(),
        },
        description=_description(config, data, counts, scored),
        note=note,
    )


def _description(config: Config, data: Source, counts: Counts, scored: Detected) -> str:
    bounds = detection.view(config).shorter
    random = config.detect_weights == "random"
    frozen = {"none": "all layers", "all": "what is put on it"}
    layers = frozen.get(config.freeze, f"stages from {config.freeze} on")
    return (
        f"{config.detector} from {'random weights' if random else 'the encoder'}, "
        f"{layers} trained on {data.num_examples} images of {data.name} for "
        f"{config.detect_steps} steps of {config.detect_batch_size}, SGD, peak rate "
        f"{config.detect_learning_rate:g}, decay {config.detect_weight_decay:g}, "
        f"shorter side {bounds[0]} to {bounds[1]} on {config.image_size} pixels; "
        f"{scored.objects} objects in {counts}, shown whole on {config.image_size} "
        "pixels; overlaps .5 to .95 and 101 recalls by pycocotools, at most 100 "
        "detections an image; VOC: overlap .5, area under the curve, and 11 points"
    )


def _write_pictures(
    own: RunDirectory,
    held_out: Source,
    names: tuple[str, ...],
    truth: list[Truth],
    found: dict[int, Found],
) -> None:
    """Leaves pictures for the report: what is there, and what was found."""
    places = sorted(found)
    strips = []
    for place in places[:: max(1, -(-len(places) // SHOWN))]:
        image = held_out.example(tf.constant(place, tf.int64))["image"].numpy()
        there, said = truth[place], found[place]
        panels = [
            boxes.drawn(image, there.boxes, there.classes, names),
            boxes.drawn(image, said.boxes, said.classes, names, said.scores),
        ]
        strips.append(Strip(held_out.where(place), list(map(np.asarray, panels))))
    found_head = f"found, with a score of {boxes.SURE} or more"
    write_pictures(own, strips, ("objects", found_head))


_DETECTING = OwnRun(
    "detect",
    {*specs_of(DetectFlags), *specs_of(RegionFlags)}
    | {"precision", "dataset", "train_split", "image_size", "seed", "init_from"}
    | {"encoder", "encoder_family", "normalization", "freeze"},
    ("a detection", "detecting"),
)
