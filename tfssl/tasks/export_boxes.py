"""Export of a run that detects: image bytes in, boxes, classes and scores out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfssl import build
from tfssl.augment import dense
from tfssl.build import Trained, detection
from tfssl.config import Config
from tfssl.core.paths import AnyPath
from tfssl.core.variables import raw
from tfssl.data import spread
from tfssl.errors import TfsslError, printable
from tfssl.exporters.box_model import export_boxes
from tfssl.exporters.verify import verified_boxes
from tfssl.methods import Detect
from tfssl.show import console
from tfssl.weights import licence_text

VERIFIED = 8
"""Images to compare on."""


def write(
    config: Config, run: Trained, path: AnyPath, metadata: Mapping[str, Any]
) -> None:
    """Writes a SavedModel with the run's detector.

    Args:
      config: Of the command.
      run: The run.
      path: Where to.
      metadata: Of its encoder.

    Raises:
      TfsslError: What was written says something else than the network.
    """
    detector = detection.load(run.path)

    def check(folder: Path) -> Mapping[str, Any]:
        images, of = _images(detector)
        found = verified_boxes(folder, images, [_said(detector, i) for i in images])
        console.say(
            f"saved_model: {found['bytes'] / 1e6:.2f} MB; of {of} the boxes differ by "
            f"{found['pixels_apart']:.2g} pixels at most, scores by "
            f"{found['scores_apart']:.2g}; {found['milliseconds_an_image']:.1f} ms an "
            f"image, {found['cores']} cores"
        )
        return {"verified": found | {"images_of": of}}

    provenance = run.provenance
    export_boxes(
        detector.network.detections,
        [raw(v) for v in Detect(detector.network).checkpoint_items().values()],
        str(path),
        image_size=detector.run.image_size,
        metadata={
            **metadata,
            "detector": run.config.detector,
            "classes": list(map(printable, detector.class_names)),
            "num_classes": len(detector.class_names),
        },
        texts={"LICENSE-weights.txt": licence_text(provenance)} if provenance else {},
        max_pixels=config.max_image_pixels,
        check=check if config.export_verify else None,
    )


def _said(detector: detection.Detector, image: np.ndarray) -> dict[str, np.ndarray]:
    """What the network says of an image of any size."""
    cut = dense.fitted(*map(tf.constant, image.shape[:2]), detector.canvas)
    pixels = dense.moved_image(tf.constant(image), cut, detector.canvas)
    found = detector.detect(tf.cast(pixels, tf.float32)[None] * (1.0 / 255.0))
    shown = tf.stack([cut.height, cut.width])
    found["boxes"] = dense.restored_boxes(found["boxes"], cut.source, shown)
    return {name: value[0].numpy() for name, value in found.items()}


def _images(detector: detection.Detector) -> tuple[list[np.ndarray], str]:
    """Training images, at their own size; noise where they are not there."""
    config = detector.run.config
    try:
        whole = build.source(config, config.train_split, targets="boxes")
        source = spread(whole, VERIFIED)
        places = range(source.num_examples)
        found = [source.example(tf.constant(p, tf.int64))["image"] for p in places]
        of = f"{len(found)} images of {printable(source.name)}"
        return [image.numpy() for image in found], of
    except (TfsslError, tf.errors.OpError) as error:
        console.say(f"compared on noise: {error}")
        size = detector.run.image_size
        noise = np.random.default_rng(0).integers(0, 256, (VERIFIED, size, size, 3))
        return list(noise.astype(np.uint8)), f"{VERIFIED} images of noise"
