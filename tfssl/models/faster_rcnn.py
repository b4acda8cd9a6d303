"""Faster R-CNN C4 on an encoder of ours: the detector of MoCo's tables.

Stages up to P4 see the image; proposals and regions are read from their map, of stride
16 (4 with the stem of small images), and the encoder's last stage sees each region
(detectron2's `Res5ROIHeads`), MoCo with one normalisation more behind it. Numbers are
detectron2's, where no other source is said; MoCo changes none of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfssl.core.seeds import init_seed
from tfssl.models import regions
from tfssl.models.blocks import Parts
from tfssl.models.convolution import GlobalMean
from tfssl.models.retinanet import MOST, OVERLAP, SCORE, level_strides

LEVEL = "P4"
"""The map that proposals and regions are read from."""

SIDE = 14
"""Rows and columns of a region; the last stage halves them."""

OF_PROPOSALS = (1.0, 1.0, 1.0, 1.0)
OF_REGIONS = (10.0, 10.0, 5.0, 5.0)
"""Weights of offsets, see `regions.encoded`."""

TRAINING, LOOKING = (12_000, 2_000), (6_000, 1_000)
"""Proposals of an image before and after suppression."""

PROPOSAL_OVERLAP = 0.7

_AT_ONCE = 256
"""Regions that pass the last stage at once where nothing trains."""


class FasterRCNN:
    """A detector: an encoder, and what is put on it.

    Args:
      encoder: Of ours, images `[b, S, S, 3]` in [0, 1]; it is not copied.
      classes: Number of classes.
      parts: Makes the layers, with the encoder's normalisation.
      anchors: Sides of the square anchors, in pixels.

    Attributes:
      encoder: The same.
      parts: What is put on it, by its role.
      classes: Number of classes.

    Raises:
      ConfigError: The encoder has no such levels.
    """

    def __init__(
        self,
        encoder: keras.Model,
        classes: int,
        parts: Parts,
        *,
        anchors: Sequence[int],
    ):
        self._stride = level_strides(encoder)[LEVEL]
        self.encoder, self.classes = encoder, classes
        deep = encoder.get_layer(encoder.pyramid_level_inputs[LEVEL]).output
        self._stages = keras.Model(encoder.inputs, deep, name="c4")
        self._last = _last_stage(encoder, deep)
        rows, columns, channels = deep.shape[1:]
        self.canvas = tuple(encoder.input_shape[1:3])
        self._anchors = regions.anchor_boxes(rows, columns, self._stride, anchors)
        proposing = _proposing(parts, (rows, columns, channels), len(anchors))
        telling = _telling(parts, self._last.output_shape[1:], classes)
        self.parts: dict[str, keras.layers.Layer] = {
            "detector/proposals": proposing,
            "detector/regions": telling,
        }
        self._proposing, self._telling = proposing, telling

    @property
    def anchors(self) -> tf.Tensor:
        """float32 `[n, 4]`."""
        return tf.constant(self._anchors)

    def map(self, images: tf.Tensor, training: bool) -> tf.Tensor:
        """Images `[b, S, S, 3]` to the map `[b, S / s, S / s, C]` of stride s."""
        return self._stages(images, training=training)

    def proposed(
        self, features: tf.Tensor, training: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The map to logits of objects float32 `[b, n]` and offsets `[b, n, 4]`."""
        logits, offsets = self._proposing(features, training=training)
        count = self._anchors.shape[0]
        return (
            tf.reshape(tf.cast(logits, tf.float32), [-1, count]),
            tf.reshape(tf.cast(offsets, tf.float32), [-1, count, 4]),
        )

    def proposals(
        self, logits: tf.Tensor, offsets: tf.Tensor, most: tuple[int, int]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Where objects may be, see `regions.proposals`; without a gradient."""
        logits, offsets = tf.stop_gradient(logits), tf.stop_gradient(offsets)
        boxes = regions.decoded(offsets, self.anchors, OF_PROPOSALS)
        return regions.proposals(
            logits,
            regions.clipped(boxes, self.canvas),
            before=most[0],
            after=most[1],
            overlap=PROPOSAL_OVERLAP,
        )

    def told(
        self, features: tf.Tensor, boxes: tf.Tensor, training: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """What is in regions.

        Args:
          features: The map `[b, h, w, C]`.
          boxes: float32 `[b, n, 4]` in pixels.
          training: As in Keras.

        Returns:
          (logits float32 `[b, n, classes + 1]`, the last one of background; offsets
          float32 `[b, n, classes, 4]`.)
        """
        cut = regions.roi_align(features, boxes, SIDE, self._stride)
        cut = tf.reshape(cut, [-1, SIDE, SIDE, features.shape[-1]])
        last = self._last(cut, training=training)
        logits, offsets = self._telling(last, training=training)
        count = boxes.shape[1]
        return (
            tf.reshape(logits, [-1, count, self.classes + 1]),
            tf.reshape(offsets, [-1, count, self.classes, 4]),
        )

    def detections(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """What is there, as `RetinaNet.detections` gives it."""
        features = self.map(images, training=False)
        boxes, there = self.proposals(*self.proposed(features, False), LOOKING)
        logits, offsets = self._told_in_parts(features, boxes)
        chances = tf.nn.softmax(logits)[..., :-1]
        moved = regions.decoded(offsets, boxes[:, :, None], OF_REGIONS)
        found = tf.image.combined_non_max_suppression(
            regions.clipped(moved, self.canvas),
            tf.where(there[..., None], chances, 0.0),
            MOST,
            MOST,
            iou_threshold=OVERLAP,
            score_threshold=SCORE,
            clip_boxes=False,
        )
        return {
            "boxes": found.nmsed_boxes,
            "scores": found.nmsed_scores,
            "classes": tf.cast(found.nmsed_classes, tf.int64),
            "count": tf.cast(found.valid_detections, tf.int64),
        }

    def _told_in_parts(
        self, features: tf.Tensor, boxes: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """`told`, some regions of one image at a time: all at once fill the memory."""
        count = boxes.shape[1]
        number = -(-count // _AT_ONCE)
        each = -(-count // number)
        spare = [[0, 0], [0, number * each - count], [0, 0]]
        parts = tf.reshape(tf.pad(boxes, spare), [-1, each, 4])
        image = tf.range(tf.shape(parts)[0]) // number

        def told(part: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
            logits, offsets = self.told(features[part[0]][None], part[1][None], False)
            return logits[0], offsets[0]

        of = (
            tf.TensorSpec([each, self.classes + 1], tf.float32),
            tf.TensorSpec([each, self.classes, 4], tf.float32),
        )
        logits, offsets = tf.map_fn(told, (image, parts), fn_output_signature=of)
        rows = number * each
        return (
            tf.reshape(logits, [-1, rows, self.classes + 1])[:, :count],
            tf.reshape(offsets, [-1, rows, self.classes, 4])[:, :count],
        )


def _last_stage(encoder: keras.Model, deep: Any) -> keras.Model:
    """The encoder's own last stage, for regions `[n, SIDE, SIDE, C]`."""
    cut = keras.Input((SIDE, SIDE, deep.shape[-1]), name="regions", dtype=deep.dtype)
    made = {id(deep): cut}
    for layer in encoder.layers:  # in the order of the calls
        if layer.name.startswith("stage4_"):
            given = keras.tree.map_structure(lambda x: made[id(x)], layer.input)
            made[id(layer.output)] = out = layer(given)
    return keras.Model(cut, out, name="c5")


def _proposing(parts: Parts, shape: Sequence[int], sizes: int) -> keras.Model:
    """The map to logits `[b, h, w, A]` and offsets `[b, h, w, 4 A]` of its anchors."""
    count = sizes * len(regions.RATIOS)
    given = keras.Input(shape, name="map", dtype=_dtype(parts))

    def conv(x: Any, name: str, filters: int, side: int, **options: Any) -> Any:
        return keras.layers.Conv2D(
            filters,
            side,
            padding="same",
            kernel_initializer=_normal(parts, name, 0.01),
            name=name,
            **options,
        )(x)

    x = conv(given, "proposals_conv", shape[-1], 3, activation="relu")
    logits = conv(x, "proposals_object", count, 1)
    offsets = conv(x, "proposals_boxes", 4 * count, 1)
    return keras.Model(given, [logits, offsets], name="proposals")


def _telling(parts: Parts, shape: Sequence[int], classes: int) -> keras.Model:
    """Regions behind the last stage to logits and offsets, with MoCo's extra norm."""
    given = keras.Input(shape, name="last", dtype=_dtype(parts))
    x = parts.norm(given, "regions_bn")
    x = GlobalMean(name="regions_mean", dtype=parts.dtype)(x)
    of_classes, of_boxes = (
        keras.layers.Dense(
            units,
            kernel_initializer=_normal(parts, name, deviation),
            name=name,
            dtype="float32",
        )(x)
        for name, units, deviation in (
            ("regions_classes", classes + 1, 0.01),
            ("regions_boxes", 4 * classes, 0.001),
        )
    )
    return keras.Model(given, [of_classes, of_boxes], name="regions")


def _normal(parts: Parts, name: str, deviation: float) -> keras.Initializer:
    seed = init_seed(parts.seed, f"{name}/kernel")
    return keras.initializers.RandomNormal(0.0, deviation, seed)


def _dtype(parts: Parts) -> str:
    policy = keras.DTypePolicy(parts.dtype) if parts.dtype else None
    return (policy or keras.config.dtype_policy()).compute_dtype
