"""Small pictures of chosen examples, as the encoder sees them, for pages."""

from __future__ import annotations

import numpy as np

from tfssl.augment.recipes import EvalTransform
from tfssl.data import Source, inference
from tfssl.data.subset import chosen

SIDE = 112
"""Larger images are shown at this side."""


def pictures(
    source: Source, indices: np.ndarray, transform: EvalTransform, image_size: int
) -> list[np.ndarray | None]:
    """Crops and resizes examples like an evaluation.

    Args:
      source: The data set.
      indices: Of the examples, in any order, possibly twice.
      transform: Resize and crop.
      image_size: Side of the encoder's images.

    Returns:
      For each index uint8 `[S, S, 3]`, S at most `SIDE`; None where the file cannot be
      read any more.
    """
    places, back = np.unique(np.asarray(indices, np.int64), return_inverse=True)
    if not len(places):
        return []
    batches = inference(
        chosen(source, places, "pictures"),
        transform,
        batch=min(64, len(places)),
        image_size=min(image_size, SIDE),
    )
    found: list[np.ndarray | None] = []
    for batch in batches:
        images = np.round(batch["image"].numpy() * 255).astype(np.uint8)
        masks = batch["mask"].numpy()
        found += [image if m else None for image, m in zip(images, masks, strict=True)]
    return [found[place] for place in back.reshape(-1)]
