"""RetinaNet on an encoder of ours: KerasCV's pyramid, heads, anchors and decoding.

P3 to P7 over the encoder's stages 2 to 4 (1708.02002). KerasCV takes ten seconds to
import, so it is imported here, when a detector is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfssl.core import runtime
from tfssl.core.seeds import init_seed
from tfssl.errors import ConfigError, message
from tfssl.models.foreign import forget_names, seeded

FORMAT = "yxyx"
LEVELS = ("P3", "P4", "P5")
"""Levels of the encoder that the pyramid begins with."""

WIDTH = 256
"""Channels of pyramid and heads in RetinaNet (section 4)."""

SCORE, OVERLAP, MOST = 0.05, 0.5, 100
"""Detections below this score are none; of one class, those that overlap more are one;
and at most so many an image, as COCO scores them."""


class RetinaNet:
    """A detector: an encoder, and what is put on it.

    Args:
      encoder: Of ours, images `[b, S, S, 3]` in [0, 1]; it is not copied.
      classes: Number of classes.
      seed: Initial weights of pyramid and heads are a pure function of it.
      width: Their channels.

    Attributes:
      encoder: The same.
      parts: The layers put on it, by their role.

    Raises:
      ConfigError: The encoder has no such levels.
    """

    def __init__(
        self, encoder: keras.Model, classes: int, *, seed: int, width: int = WIDTH
    ):
        strides = level_strides(encoder)
        keras_cv = _keras_cv()
        self.encoder = encoder
        with seeded(init_seed(seed, "retinanet")):
            forget_names()
            pyramid = _pyramid(keras_cv, width)
            # Focal loss begins with hardly an object anywhere: p = .01 (section 4.1).
            prior = keras.initializers.Constant(-4.59511985013459)
            of_classes = _head(keras_cv, width, 9 * classes, prior, name="classes")
            of_boxes = _head(keras_cv, width, 36, "zeros", name="boxes")
            anchors, to_targets, to_boxes = _float32_layers(keras_cv, strides["P3"])
            self.model = keras_cv.models.RetinaNet(
                encoder,
                classes,
                FORMAT,
                label_encoder=to_targets,
                prediction_decoder=to_boxes,
                feature_pyramid=pyramid,
                classification_head=of_classes,
                box_head=of_boxes,
            )
        self.parts: dict[str, keras.layers.Layer] = {
            "detector/pyramid": pyramid,
            "detector/classes": of_classes,
            "detector/boxes": of_boxes,
        }

    def raw(self, images: tf.Tensor, training: bool) -> tuple[tf.Tensor, tf.Tensor]:
        """Images to offsets `[b, anchors, 4]` and logits `[b, anchors, classes]`."""
        found = self.model({"images": images}, training=training)
        return tf.cast(found["box"], tf.float32), tf.cast(
            found["classification"], tf.float32
        )

    def targets(
        self, images: tf.Tensor, boxes: tf.Tensor, classes: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """What the anchors are to say.

        Args:
          images: For their shape.
          boxes: float32 `[b, M, 4]`.
          classes: int64 `[b, M]`, -1 where there is no object.

        Returns:
          float32 `[b, anchors, 4]`, offsets; and float32 `[b, anchors]`: the class, -1
          for background, -2 where the anchor is neither (overlap between .4 and .5).
        """
        known = {"boxes": boxes, "classes": tf.cast(classes, tf.float32)}
        found = self.model.label_encoder(images, known)
        return tuple(map(tf.stop_gradient, found))

    def detections(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """What is there, in float32, with moving statistics, after suppression.

        Returns:
          `boxes` float32 `[b, MOST, 4]` in pixels of the canvas, `scores` float32 and
          `classes` int64 `[b, MOST]`, the best first; zeros behind the last, whose
          number is `count` int64 `[b]`.
        """
        box, classification = self.raw(images, training=False)
        predicted = {"box": box, "classification": classification}
        found = self.model.decode_predictions(predicted, images)
        there = tf.range(MOST)[None] < found["num_detections"][:, None]
        return {
            "boxes": tf.where(there[..., None], found["boxes"], 0.0),
            "scores": tf.where(there, found["confidence"], 0.0),
            "classes": tf.where(there, tf.cast(found["classes"], tf.int64), 0),
            "count": tf.cast(found["num_detections"], tf.int64),
        }


def _keras_cv() -> Any:
    """Imports KerasCV over Keras 3, also where TF_USE_LEGACY_KERAS makes tf.keras 2."""
    # It takes the Keras that `tensorflow.keras` is while it is imported, for good.
    theirs = tf.keras
    try:
        tf.keras = keras
        import keras_cv
    finally:
        tf.keras = theirs
    return keras_cv


def _pyramid(keras_cv: Any, width: int) -> keras.layers.Layer:
    """KerasCV's pyramid, which knows 256 channels, with any number."""

    class Pyramid(keras_cv.models.retinanet.FeaturePyramid):
        def build(self, input_shape):
            c3, c4, c5 = (input_shape[level][-1] for level in LEVELS)
            for each, channels in (
                (self.conv_c3_1x1, c3),
                (self.conv_c4_1x1, c4),
                (self.conv_c5_1x1, c5),
                (self.conv_c3_3x3, width),
                (self.conv_c4_3x3, width),
                (self.conv_c5_3x3, width),
                (self.conv_c6_3x3, c5),
                (self.conv_c7_3x3, width),
            ):
                each.filters = width
                each.build((None, None, None, channels))
            self.built = True

        def compute_output_spec(self, *args, **kwargs):
            return keras.Operation.compute_output_spec(self, *args, **kwargs)

    return Pyramid(name="pyramid")


def _head(
    keras_cv: Any, width: int, filters: int, bias: Any, name: str
) -> keras.layers.Layer:
    """KerasCV's head, which knows 256 channels, with any number."""

    class Head(keras_cv.models.retinanet.PredictionHead):
        def build(self, input_shape):
            for each in self.conv_layers:
                each.filters = width
                each.build(input_shape)
                input_shape = (*input_shape[:-1], width)
            self.prediction_layer.build(input_shape)
            self.built = True

    return Head(filters, bias, name=name)


def _float32_layers(keras_cv: Any, stride: int) -> Sequence[keras.layers.Layer]:
    """Anchors, matching and decoding: their numbers are pixels, whatever trains.

    Anchors of a level have sides of 4, 5.04 and 6.35 of its strides (section 4).
    """
    strides = [stride * 2**level for level in range(5)]
    with runtime.precision("float32"):
        anchors = keras_cv.layers.AnchorGenerator(
            bounding_box_format=FORMAT,
            sizes=[4.0 * s for s in strides],
            scales=[2 ** (octave / 3) for octave in range(3)],
            aspect_ratios=[0.5, 1.0, 2.0],
            strides=strides,
            clip_boxes=True,
        )
        to_targets = keras_cv.models.retinanet.LabelEncoder(FORMAT, anchors)
        to_boxes = keras_cv.layers.MultiClassNonMaxSuppression(
            FORMAT,
            from_logits=True,
            iou_threshold=OVERLAP,
            confidence_threshold=SCORE,
            max_detections=MOST,
            max_detections_per_class=MOST,
        )
    return anchors, to_targets, to_boxes


def level_strides(encoder: keras.Model) -> dict[str, int]:
    """Pixels of the image from row to row of each of `LEVELS`.

    8, 16 and 32; with the stem of small images (`_cifar`) 2, 4 and 8.

    Raises:
      ConfigError: The encoder has no such levels, or its input is of a size at which
        they do not lie on each other.
    """
    names = getattr(encoder, "pyramid_level_inputs", None)
    if names is None:
        raise ConfigError(
            message(
                f"the encoder {encoder.name}, which does not name its levels",
                "one with pyramid_level_inputs P3, P4 and P5",
                "a ResNet of tfssl, such as encoder=resnet50",
            )
        )
    side = encoder.input_shape[1]
    rows = {name: encoder.get_layer(names[name]).output.shape[1] for name in LEVELS}
    last = side // rows[LEVELS[-1]]
    strides = {name: last // 2**back for back, name in enumerate(reversed(LEVELS))}
    if any(rows[name] * stride != side for name, stride in strides.items()):
        raise ConfigError(
            message(
                f"images of {side} pixels, in the levels {rows} rows",
                "a side that each level divides",
                "image_size=128",
            )
        )
    return strides
