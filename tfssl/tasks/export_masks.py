"""Export of a run that segments: image bytes in, a mask of the image's size out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfssl import build
from tfssl.build import Trained, segmentation
from tfssl.config import Config
from tfssl.core.paths import AnyPath
from tfssl.data import spread
from tfssl.errors import TfsslError, printable
from tfssl.exporters.mask_model import export_masks
from tfssl.exporters.verify import verified_masks
from tfssl.show import console
from tfssl.weights import licence_text

VERIFIED = 8
"""Images to compare on."""


def write(
    config: Config, run: Trained, path: AnyPath, metadata: Mapping[str, Any]
) -> None:
    """Writes a SavedModel with the run's head.

    Args:
      config: Of the command.
      run: The run.
      path: Where to.
      metadata: Of its encoder.

    Raises:
      TfsslError: What was written says something else than the network.
    """
    segmenter = segmentation.load_segmenter(run.path)

    def check(folder: Path) -> Mapping[str, Any]:
        images, of = _images(segmenter)
        found = verified_masks(folder, images, [segmenter.mask(i) for i in images])
        console.say(
            f"saved_model: {found['bytes'] / 1e6:.2f} MB; of {of} "
            f"{100 * found['different_pixels']:.2g} % of the pixels differ in class; "
            f"{found['milliseconds_an_image']:.1f} ms an image, {found['cores']} cores"
        )
        return {"verified": found | {"images_of": of}}

    provenance = run.provenance
    export_masks(
        segmenter.network.models(),
        str(path),
        image_size=segmenter.image_size,
        metadata={
            **metadata,
            "classes": list(map(printable, segmenter.class_names)),
            "num_classes": len(segmenter.class_names),
            "ignored": 255,
        },
        texts={"LICENSE-weights.txt": licence_text(provenance)} if provenance else {},
        max_pixels=config.max_image_pixels,
        orient=config.orient,
        check=check if config.export_verify else None,
    )


def _images(segmenter: segmentation.Segmenter) -> tuple[list[np.ndarray], str]:
    """Training images, at their own size; noise where they are not there."""
    config = segmenter.run.config
    try:
        source = spread(build.source(config, config.train_split, memory=0), VERIFIED)
        places = range(source.num_examples)
        found = [source.example(tf.constant(p, tf.int64))["image"] for p in places]
        of = f"{len(found)} images of {printable(source.name)}"
        return [image.numpy() for image in found], of
    except (TfsslError, tf.errors.OpError) as error:
        console.say(f"compared on noise: {error}")
        size = segmenter.image_size
        noise = np.random.default_rng(0).integers(0, 256, (VERIFIED, size, size, 3))
        return list(noise.astype(np.uint8)), f"{VERIFIED} images of noise"
