"""From `Config` to a segmentation: its `Job`, and what it has learned."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from tfssl import optim
from tfssl.augment import dense
from tfssl.augment.dense import DenseView
from tfssl.build import networks, trained
from tfssl.build.data import evaluation_source, source
from tfssl.build.dense import dense_job, start_of
from tfssl.build.first_views import VIEWS
from tfssl.build.trained import Trained
from tfssl.build.training import Rate
from tfssl.config import Config
from tfssl.core import runtime, seeds
from tfssl.core.paths import AnyPath
from tfssl.data import Source
from tfssl.data.dense_rows import dense_inference, dense_training
from tfssl.data.mask_files import coloured
from tfssl.errors import CheckpointError, DataError, message
from tfssl.methods import Segment
from tfssl.models.deeplab import LEVELS, bilinear_matrix, deeplab_head
from tfssl.runs import RunDirectory, checkpoint
from tfssl.train import Job

CLASSES = "pixel_classes.json"
"""File of a run that segments: the names of its classes."""

HEAD = "segmenter"
_BATCH, _LOGITS = 32, 2**26
"""Most images at a time, and most logits of them."""


def mask_sources(config: Config) -> tuple[Source, Source]:
    """Training and held-out images with masks.

    Raises:
      DataError: The data set has none, or other classes where it is held out.
    """
    train = source(config, config.train_split, targets="mask")
    if len(train.pixel_classes) < 2:
        raise DataError(
            message(
                f"masks of one class in {train.name}",
                "at least two classes to tell apart",
                "masks whose numbers differ",
            )
        )
    held_out = evaluation_source(config, targets="mask")
    if train.pixel_classes != held_out.pixel_classes:
        raise DataError(
            message(
                f"{len(held_out.pixel_classes)} classes in {held_out.name} and "
                f"{len(train.pixel_classes)} in {train.name}",
                "the same classes",
                "eval_split=NAME of another split",
            )
        )
    return train, held_out


def view(config: Config) -> DenseView:
    """The law of the views: shorter sides relative to the canvas, and the flip."""
    low, high = (round(s * config.image_size) for s in config.segment_scales)
    return DenseView((max(low, 1), max(high, 1)))


def class_weights(data: Source, power: float) -> list[float]:
    """Returns `share_c ** -power` of each class c: of its share of all masks' pixels.

    Pixels of 255 count nowhere. A class without a pixel weighs 1.
    """

    def counts(index: tf.Tensor) -> tf.Tensor:
        numbers = tf.cast(tf.reshape(data.mask(index), [-1]), tf.int32)
        return tf.math.bincount(numbers, minlength=256, maxlength=256, dtype=tf.int64)

    rows = tf.data.Dataset.range(data.num_examples)
    rows = runtime.on_all_cores(rows.map(counts, num_parallel_calls=tf.data.AUTOTUNE))
    pixels = sum(row.numpy() for row in rows)[: len(data.pixel_classes)]
    share = np.where(pixels > 0, pixels, pixels.sum()) / pixels.sum()
    return (share**-power).tolist()


def method(
    config: Config, classes: int, weights: Sequence[float] | None = None
) -> Segment:
    """Encoder and head, freshly initialised; `weights` as of `Segment`."""
    encoder = networks.encoder(config, config.seed)
    if config.freeze != "none":
        networks.freeze_below(encoder, config.freeze)
    return _with_head(config, encoder, classes, weights)


def _with_head(
    config: Config,
    encoder: keras.Model,
    classes: int,
    weights: Sequence[float] | None = None,
) -> Segment:
    levels = encoder.pyramid_outputs
    stages = keras.Model(encoder.inputs, [levels[name] for name in LEVELS])
    head = deeplab_head(
        [tuple(levels[name].shape[1:]) for name in LEVELS],
        classes,
        networks.dense_parts(config, config.seed),
        size=(config.image_size, config.image_size),
        width=config.segment_width,
        name=HEAD,
    )
    return Segment(encoder, stages, head, weights)


def segmentation(config: Config, data: Source) -> Job:
    """The training that the flags describe.

    Raises:
      DataError: A batch that the replicas cannot share.
    """
    steps, power = config.segment_steps, config.segment_balance
    weights = class_weights(data, power) if power else None
    rate = optim.build_schedule(
        config.segment_schedule, peak=config.segment_learning_rate, total=steps
    )

    def optimizer(rate: Rate) -> keras.optimizers.Optimizer:
        decay = config.segment_weight_decay
        return optim.build_optimizer("sgd", rate, momentum=0.9, weight_decay=decay)

    return dense_job(
        config,
        data,
        view(config),
        lambda: method(config, len(data.pixel_classes), weights),
        optimizer,
        rate=rate,
        seed=seeds.init_seed(config.seed, "segment"),
        steps=steps,
        batch_size=config.segment_batch_size,
        flag="segment_batch_size",
        start=start_of(config, "segment"),
    )


def first_views(config: Config, data: Source) -> np.ndarray:
    """Views of a few images, each beside its mask: uint8 `[n, 2, S, S, 3]`."""
    count, size = min(VIEWS, data.num_examples), config.image_size
    rows = dense_training(
        data,
        view(config),
        seed=config.seed,
        start_step=0,
        global_batch=count,
        replica_batch=count,
        canvas=(size, size),
    )
    batch = next(iter(rows))
    masks = coloured(batch["target"]["mask"].numpy()[..., 0])
    return np.stack([batch["views"].numpy()[:, 0], masks], 1)


@dataclasses.dataclass(frozen=True, eq=False)
class Segmenter:
    """A run that segments: its networks in float32, with moving statistics.

    Attributes:
      run: The same as a run with an encoder.
      network: Encoder and head.
      class_names: One a class.
    """

    run: Trained
    network: Segment
    class_names: tuple[str, ...]

    @property
    def image_size(self) -> int:
        """Side of the canvas."""
        return self.run.image_size

    @functools.cached_property
    def logits(self) -> trained.Compiled:
        """Images `[b, S, S, 3]` in [0, 1] to logits `[b, S, S, classes]`."""
        return tf.function(self.network.logits, autograph=False)

    def mask(self, image: np.ndarray) -> np.ndarray:
        """The mask uint8 `[h, w]` of an image uint8 `[h, w, 3]`, as `masks` has it."""
        canvas = (self.image_size, self.image_size)
        shown, cut = dense.whole_image(tf.constant(image), canvas)
        logits = self.logits(shown[None]).numpy()
        size = int(cut.height), int(cut.width)
        return resized_mask(logits[0], size, image.shape[:2])

    def masks(self, source: Source) -> Iterator[tuple[int, np.ndarray]]:
        """Yields the index and the mask uint8 `[h, w]` of every readable example.

        The whole image is fitted into the canvas, and its logits are resized to its own
        size; the class of a pixel is the one with the highest.
        """
        size = self.image_size
        fitting = _LOGITS // (size * size * len(self.class_names))
        batch = max(1, min(_BATCH, fitting, source.num_examples))
        for rows in dense_inference(source, batch=batch, canvas=(size, size)):
            logits = self.logits(rows["image"]).numpy()
            for row in np.flatnonzero(rows["mask"]):
                shown, own = (
                    rows[n][row].numpy().tolist() for n in ("shown", "source")
                )
                yield int(rows["index"][row]), resized_mask(logits[row], shown, own)


def resized_mask(
    logits: np.ndarray, shown: tuple[int, int], size: tuple[int, int]
) -> np.ndarray:
    """The classes of an image's own pixels, uint8 `[*size]`.

    Args:
      logits: float32 `[S, S, classes]`.
      shown: Height and width of the image on the canvas.
      size: Height and width of the image.
    """
    part = logits[: shown[0], : shown[1]]
    rows, columns = (bilinear_matrix(a, b) for a, b in zip(shown, size, strict=True))
    wide = np.einsum("jw,iwc->ijc", columns, part)
    # A stripe at a time: floats of all classes of a large image would fill the memory.
    out = np.empty(size, np.uint8)
    for begin in range(0, size[0], 64):
        stripe = np.tensordot(rows[begin : begin + 64], wide, 1)
        out[begin : begin + 64] = stripe.argmax(-1)
    return out


def load_segmenter(path: str | AnyPath) -> Segmenter:
    """Loads a run that segments.

    Args:
      path: `RUN/segment`.

    Raises:
      CheckpointError: There is no such run.
    """
    run = trained.load(path)
    name = f"{HEAD}/{HEAD}_logits/bias"
    found = checkpoint.read(run.checkpoint, name)
    file = RunDirectory(path).path / CLASSES
    if name not in found or not file.is_file():
        raise CheckpointError(
            message(
                f"{path}, a run that does not segment",
                "a run of mode=segment",
                "RUN/segment",
            )
        )
    with runtime.precision("float32"):
        network = _with_head(run.config, run.encoder, len(found[name]))
    head = {
        n: v for n, v in network.checkpoint_items().items() if n.startswith(f"{HEAD}/")
    }
    trained.assign_items(head, run.checkpoint)
    return Segmenter(run, network, tuple(json.loads(file.read_text("utf-8"))))
