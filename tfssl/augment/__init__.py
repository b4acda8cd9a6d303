"""Random views: what they are (recipes), where they are cut, how they are coloured."""

from tfssl.augment.recipes import (
    EVAL_TRANSFORMS,
    RECIPES,
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
    "Recipe",
    "ViewRecipe",
    "describe",
    "eval_transform",
    "named",
    "with_strength",
]
