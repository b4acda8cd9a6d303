"""Random views: what they are (recipes), where they are cut, how they are coloured.

Names load their module on first use, so that reading a recipe needs no TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfssl.augment.boxes import sample_crop
    from tfssl.augment.crops import crop_flip_resize, views
    from tfssl.augment.geometry import eval_image
    from tfssl.augment.photometry import apply, sample
    from tfssl.augment.recipes import (
        EVAL_TRANSFORMS,
        RECIPES,
        EvalTransform,
        Recipe,
        ViewRecipe,
        describe,
        eval_transform,
        named,
        with_strength,
    )

__all__ = [
    "EVAL_TRANSFORMS",
    "RECIPES",
    "EvalTransform",
    "Recipe",
    "ViewRecipe",
    "apply",
    "crop_flip_resize",
    "describe",
    "eval_image",
    "eval_transform",
    "named",
    "sample",
    "sample_crop",
    "views",
    "with_strength",
]

_MODULE = {
    "apply": "photometry",
    "crop_flip_resize": "crops",
    "eval_image": "geometry",
    "sample": "photometry",
    "sample_crop": "boxes",
    "views": "crops",
}
"""Where each name is, if not in `recipes`."""


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = _MODULE.get(name, "recipes")
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)
