"""Detectors as the flags describe them: to train, and as they were trained."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from tfssl import optim
from tfssl.augment.dense import DenseView, restored_boxes, whole_image
from tfssl.build import networks, trained
from tfssl.build.data import source as open_source
from tfssl.build.dense import dense_job, start_of
from tfssl.build.trained import Trained
from tfssl.build.training import Rate
from tfssl.config import Config, modes
from tfssl.core import runtime, seeds
from tfssl.core.paths import AnyPath
from tfssl.data import Source, dense_inference
from tfssl.data.objects import CROWD
from tfssl.errors import CheckpointError, DataError, message
from tfssl.evaluate.detection import Found
from tfssl.methods import Detect, DetectRegions
from tfssl.models import FasterRCNN, RetinaNet
from tfssl.train import Job

_BATCH = 16


def boxes_source(config: Config, split: str) -> Source:
    """Opens images with boxes.

    Raises:
      DataError: The data set has no boxes, or none in this split.
    """
    data = open_source(config, split, targets="boxes")
    if not any((image.kinds != CROWD).any() for image in data.objects.images):
        raise DataError(
            message(
                f"{data.name} without an object to learn",
                "images with boxes of more than crowds",
                "another split, or annotations",
            )
        )
    return data


def boxes_sources(config: Config) -> tuple[Source, Source]:
    """Training images, and those to be scored, which share classes.

    Raises:
      DataError: As of `boxes_source`; or nothing is to be found in the held-out ones.
    """
    data = boxes_source(config, config.train_split)
    held_out = boxes_source(config, config.eval_split or "test")
    known, _ = held_out.objects.in_classes(data.objects.class_names)
    if not known.asked():
        raise DataError(
            message(
                f"{held_out.name} without an object of the classes of {data.name} that "
                "is to be found, neither difficult nor a crowd",
                "classes of the same names",
                "another eval_split",
            )
        )
    return data, held_out


def view(config: Config) -> DenseView:
    """How training images are scaled, cropped and flipped."""
    size = config.image_size
    bounds = config.detect_shorter or (size * 3 // 4, size * 5 // 4)
    return DenseView(
        (bounds[0], bounds[-1]), config.detect_shorter_step, config.detect_longest
    )


def method(config: Config, classes: int) -> Detect | DetectRegions:
    """What trains, before training: the encoder is the seed's."""
    encoder = networks.encoder(config, config.seed)
    if config.freeze != "none":
        networks.freeze_below(encoder, config.freeze)
    return _METHODS[config.detector](config, encoder, classes)


def _retinanet(config: Config, encoder: keras.Model, classes: int) -> Detect:
    seed = seeds.init_seed(config.seed, "detect")
    width = config.detect_width
    return Detect(RetinaNet(encoder, classes, seed=seed, width=width))


def _rcnn_c4(config: Config, encoder: keras.Model, classes: int) -> DetectRegions:
    seed = seeds.init_seed(config.seed, "detect")
    parts = networks.dense_parts(config, seed)
    made = FasterRCNN(encoder, classes, parts, anchors=config.detect_anchors)
    return DetectRegions(made, count=config.detect_regions, seed=seed)


_METHODS = {"retinanet": _retinanet, "rcnn_c4": _rcnn_c4}
"""By the value of `--detector`."""


def detection(config: Config, data: Source) -> Job:
    """The training that the flags describe."""
    return dense_job(
        config,
        data,
        view(config),
        lambda: method(config, len(data.objects.class_names)),
        functools.partial(_optimizer, config),
        rate=_rate(config),
        steps=config.detect_steps,
        batch_size=config.detect_batch_size,
        flag="detect_batch_size",
        seed=seeds.init_seed(config.seed, "detect"),
        start=start_of(config, "detect"),
    )


def _optimizer(config: Config, rate: Rate) -> keras.optimizers.Optimizer:
    return optim.build_optimizer(
        "sgd",
        rate,
        momentum=0.9,
        weight_decay=config.detect_weight_decay,
        exclude=optim.DEFAULT_EXCLUDE,
    )


def _rate(config: Config) -> Rate:
    total = config.detect_steps
    points = config.detect_decay_steps or (total * 3 // 4, total * 11 // 12)
    return optim.build_schedule(
        "step",
        peak=config.detect_learning_rate,
        total=total,
        warmup=config.detect_warmup_steps,
        boundaries=[point for point in points if point < total] or [total],
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Detector:
    """A trained detector: `run` with what was put on its encoder.

    Attributes:
      run: The encoder as it was tuned, and what it means.
      network: In float32.
      class_names: One a class.
    """

    run: Trained
    network: RetinaNet | FasterRCNN
    class_names: tuple[str, ...]

    @property
    def weights(self) -> list:
        """Every variable of encoder and detector."""
        parts = (self.network.encoder, *self.network.parts.values())
        return [variable for part in parts for variable in part.variables]

    @property
    def canvas(self) -> tuple[int, int]:
        """Height and width of the images that it looks at."""
        return self.run.image_size, self.run.image_size

    @functools.cached_property
    def detect(self) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
        """Images `[b, S, S, 3]` in [0, 1] to `RetinaNet.detections`."""
        return tf.function(self.network.detections, autograph=False)

    def look(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """What is in an image uint8 `[h, w, 3]`, boxes in its pixels."""
        shown, cut = whole_image(tf.constant(image), self.canvas)
        found = self.detect(shown[None])
        sizes = cut.source, tf.stack([cut.height, cut.width])
        found["boxes"] = restored_boxes(found["boxes"], *sizes)
        return {name: value[0].numpy() for name, value in found.items()}

    def find(self, images: Source) -> dict[int, Found]:
        """What is in each readable example, boxes in pixels of its image."""
        batch = min(_BATCH, images.num_examples)
        found: dict[int, Found] = {}
        for rows in dense_inference(images, batch=batch, canvas=self.canvas):
            said = self.detect(rows["image"])
            boxes = restored_boxes(said["boxes"], rows["source"], rows["shown"])
            columns = (boxes, said["classes"], said["scores"])
            columns = [column.numpy() for column in columns]
            for place in np.flatnonzero(rows["mask"]):
                count = int(said["count"][place])
                index = int(rows["index"][place])
                found[index] = Found(*(column[place][:count] for column in columns))
        return found


def is_detection(config: Config) -> bool:
    """Whether a run's own flags are those of a detection."""
    return modes(config) == ["detect"]


def load(path: str | AnyPath) -> Detector:
    """Loads the detector of a run directory, by its own flags.

    Raises:
      CheckpointError: There is none.
    """
    run = trained.load(path)
    if not is_detection(run.config) or run.checkpoint is None:
        raise CheckpointError(
            message(f"{path}, which holds no detector", "RUN/detect", "mode=detect")
        )
    names = run.class_names
    with runtime.precision("float32"):
        made = method(run.config, len(names))
    trained.assign_items(made.checkpoint_items(), run.checkpoint)
    run = dataclasses.replace(run, encoder=made.encoder)
    return Detector(run, made.detector, names)
