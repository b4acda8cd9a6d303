"""Export of runs that detect or segment: image bytes in, boxes or a mask out."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfssl.augment.dense import IGNORED
from tfssl.build import Trained, detection, exports, segmentation
from tfssl.config import Config
from tfssl.core.paths import AnyPath
from tfssl.core.variables import raw
from tfssl.errors import printable
from tfssl.exporters.box_model import export_boxes
from tfssl.exporters.folder import About, Check
from tfssl.exporters.mask_model import export_masks
from tfssl.exporters.verify import verified_boxes, verified_masks
from tfssl.show import console

VERIFIED = 8
"""Images to compare on."""


def write_boxes(config: Config, run: Trained, path: AnyPath, about: About) -> None:
    """Writes a SavedModel with a run's detector.

    Args:
      config: Of the command.
      run: The run.
      path: Where to.
      about: Of its encoder.

    Raises:
      TfsslError: What was written says something else than the network.
    """
    detector = detection.load(run.path)

    def check(folder: Path) -> Mapping[str, Any]:
        images, of = _images(detector.run, "boxes")
        found = verified_boxes(folder, images, [detector.look(i) for i in images])
        _say(
            found,
            f"of {of} the boxes differ by {found['pixels_apart']:.2g} pixels at most, "
            f"scores by {found['scores_apart']:.2g}",
        )
        return {"verified": found | {"images_of": of}}

    export_boxes(
        detector.network.detections,
        [raw(v) for v in detector.weights],
        str(path),
        _about(
            config, about, check, detector.class_names, detector=run.config.detector
        ),
        image_size=detector.run.image_size,
        max_pixels=config.max_image_pixels,
    )


def write_masks(config: Config, run: Trained, path: AnyPath, about: About) -> None:
    """Writes a SavedModel with the head of a run that segments; as `write_boxes`."""
    segmenter = segmentation.load_segmenter(run.path)

    def check(folder: Path) -> Mapping[str, Any]:
        images, of = _images(segmenter.run)
        found = verified_masks(folder, images, [segmenter.mask(i) for i in images])
        share = f"{100 * found['different_pixels']:.2g} %"
        _say(found, f"of {of} {share} of the pixels differ in class")
        return {"verified": found | {"images_of": of}}

    export_masks(
        segmenter.network.models(),
        str(path),
        _about(config, about, check, segmenter.class_names, ignored=IGNORED),
        image_size=segmenter.image_size,
        max_pixels=config.max_image_pixels,
        orient=config.orient,
    )


def _about(
    config: Config, about: About, check: Check, names: tuple[str, ...], **more: Any
) -> About:
    named = {"classes": list(map(printable, names)), "num_classes": len(names)}
    metadata = {**about.metadata, **more, **named}
    return About(metadata, about.texts, check if config.export_verify else None)


def _say(found: Mapping[str, Any], differences: str) -> None:
    console.say(
        f"saved_model: {found['bytes'] / 1e6:.2f} MB; {differences}; "
        f"{found['milliseconds_an_image']:.1f} ms an image, {found['cores']} cores"
    )


def _images(run: Trained, targets: str = "") -> tuple[list[np.ndarray], str]:
    of_run = functools.partial(exports.whole_images, run, VERIFIED, targets)
    images, of = exports.or_noise(of_run, VERIFIED, run.image_size)
    if not isinstance(images, list):
        images = list(np.uint8(255 * images))
    return images, of
