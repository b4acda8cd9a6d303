"""Published recipes as tables of numbers (no TensorFlow).

A recipe is data: `crops`, `geometry` and `photometry` hold the only code that reads it,
and `describe` prints it in the log. What each number means is in `recipe_types`.
"""

from __future__ import annotations

import dataclasses

from tfssl.augment.figure5 import figure5
from tfssl.augment.recipe_types import EvalTransform, Recipe, ViewRecipe
from tfssl.config.augment_name import check_augment, figure5_operators
from tfssl.errors import ConfigError, message

__all__ = [
    "EVAL_TRANSFORMS",
    "RECIPES",
    "EvalTransform",
    "Recipe",
    "ViewRecipe",
    "describe",
    "eval_transform",
    "named",
    "with_strength",
]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# The CIFAR-10 demo of MoCo uses these; the true deviation of CIFAR-10 is larger
# (0.247, 0.243, 0.262), the numbers below are means over images of per-image ones.
CIFAR_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR_STD = (0.2023, 0.1994, 0.2010)


def _simclr_view(strength: float, mode: str, blur: float) -> ViewRecipe:
    return ViewRecipe(
        sampler="simclr",
        jitter=0.8,
        brightness=0.8 * strength,
        contrast=0.8 * strength,
        saturation=0.8 * strength,
        hue=0.2 * strength,
        brightness_mode=mode,
        gray=0.2,
        blur=blur,
        blur_sigma_per="batch",
    )


def _byol_view(blur: float, solarize: float) -> ViewRecipe:
    return ViewRecipe(
        sampler="byol",
        jitter=0.8,
        brightness=0.4,
        contrast=0.4,
        saturation=0.2,
        hue=0.1,
        brightness_mode="additive",
        gray=0.2,
        blur=blur,
        solarize=solarize,
    )


_MOCO_V2_VIEW = ViewRecipe(
    sampler="torchvision",
    area=(0.2, 1.0),
    resize="bilinear",
    jitter=0.8,
    brightness=0.4,
    contrast=0.4,
    saturation=0.4,
    hue=0.1,
    pil_color=True,
    gray=0.2,
    blur=0.5,
    blur_border="edge",
)
_MOCO_V1_VIEW = dataclasses.replace(
    _MOCO_V2_VIEW, jitter=1.0, hue=0.4, blur=0.0, steps=("gray", "jitter")
)
_MOCO_CIFAR_VIEW = dataclasses.replace(_MOCO_V2_VIEW, area=(0.08, 1.0), blur=0.0)

_SIMCLR_CODE = "google-research/simclr tf2/data_util.py"
_BYOL_CODE = "google-deepmind/deepmind-research byol/utils/{dataset,augmentations}.py"
_MOCO_CODE = "facebookresearch/moco main_moco.py"

RECIPES: dict[str, Recipe] = {
    "simclr": Recipe(
        name="simclr",
        views=(_simclr_view(1.0, "multiplicative", 0.5),) * 2,
        mean=None,
        std=None,
        source=f"{_SIMCLR_CODE}; brightness of SimCLR v2, the code's default",
        family="simclr",
    ),
    "simclr_v1": Recipe(
        name="simclr_v1",
        views=(_simclr_view(1.0, "additive", 0.5),) * 2,
        mean=None,
        std=None,
        source=f"arXiv 2002.05709 appendix A; {_SIMCLR_CODE}, impl='simclrv1'",
        family="simclr",
    ),
    "simclr_cifar": Recipe(
        name="simclr_cifar",
        views=(_simclr_view(0.5, "multiplicative", 0.0),) * 2,
        mean=None,
        std=None,
        source="arXiv 2002.05709 appendix B.9: strength 0.5, no blur",
        family="simclr",
    ),
    "shapes": Recipe(
        name="shapes",
        views=(
            dataclasses.replace(
                _simclr_view(0.5, "multiplicative", 0.0), gray=0.6, area=(0.3, 1.0)
            ),
        )
        * 2,
        mean=None,
        std=None,
        source="ours, for drawn pictures: the outline decides, so colour mostly goes",
        family="simclr",
    ),
    "byol": Recipe(
        name="byol",
        views=(_byol_view(1.0, 0.0), _byol_view(0.1, 0.2)),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        source=f"arXiv 2006.07733 table 6; {_BYOL_CODE}",
        family="byol",
    ),
    "byol_cifar": Recipe(
        name="byol_cifar",
        views=(_byol_view(0.0, 0.0), _byol_view(0.0, 0.2)),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        source="ours: byol without blur, as SimCLR does at 32 pixels; not published",
        family="byol",
    ),
    "moco_v1": Recipe(
        name="moco_v1",
        views=(_MOCO_V1_VIEW,) * 2,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        source=f"arXiv 1911.05722; {_MOCO_CODE} without --aug-plus",
        family="moco",
    ),
    "moco_v2": Recipe(
        name="moco_v2",
        views=(_MOCO_V2_VIEW,) * 2,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        source=f"arXiv 2003.04297; {_MOCO_CODE} --aug-plus",
        family="moco",
    ),
    "moco_cifar": Recipe(
        name="moco_cifar",
        views=(_MOCO_CIFAR_VIEW,) * 2,
        mean=CIFAR_MEAN,
        std=CIFAR_STD,
        source="facebookresearch/moco colab-notebook branch, CIFAR-10 demo",
        family="moco",
    ),
    "linear_simclr": Recipe(
        name="linear_simclr",
        views=(ViewRecipe(sampler="simclr"),),
        mean=None,
        std=None,
        source=f"{_SIMCLR_CODE}: strength forced to 0 when fine-tuning",
        family="simclr",
    ),
    "linear_byol": Recipe(
        name="linear_byol",
        views=(ViewRecipe(sampler="byol"),),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        source=f"{_BYOL_CODE}, mode LINEAR_TRAIN",
        family="byol",
    ),
    "linear_moco": Recipe(
        name="linear_moco",
        views=(ViewRecipe(sampler="torchvision", resize="bilinear"),),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        source="facebookresearch/moco main_lincls.py",
        family="moco",
    ),
}

EVAL_TRANSFORMS: dict[str, EvalTransform] = {
    "simclr": EvalTransform(
        crop_fraction=0.875, resize="bicubic", antialias=False, resize_first=False
    ),
    "byol": EvalTransform(
        crop_fraction=0.875,
        resize="bicubic",
        antialias=False,
        resize_first=False,
        rounding="down",
    ),
    "moco": EvalTransform(
        crop_fraction=0.875, resize="bilinear", antialias=True, resize_first=True
    ),
}


def named(name: str) -> Recipe:
    """Returns the recipe of a value of `--augment`.

    Raises:
      ConfigError: Neither a recipe for two views nor a cell of Figure 5.
    """
    check_augment(name)
    operators = figure5_operators(name)
    return figure5(operators) if operators else RECIPES[name]


def eval_transform(recipe: Recipe) -> EvalTransform:
    """Returns the evaluation transform that fits a recipe, its family's."""
    return EVAL_TRANSFORMS[recipe.family]


def with_strength(recipe: Recipe, strength: float) -> Recipe:
    """Multiplies the ranges of the colour jitter of every view.

    Args:
      recipe: Any recipe.
      strength: Factor >= 0; 1 changes nothing. 0 also turns grey off, because SimCLR
        guards both by `strength > 0` (tf2/data_util.py).

    Returns:
      The changed recipe; hue stops at 0.5 turns, which is the whole circle.

    Raises:
      ConfigError: If the strength is negative.
    """
    if strength < 0:
        raise ConfigError(
            message(f"strength {strength}", "a number >= 0", "1.0 (no change)")
        )
    if strength == 1:
        return recipe

    def scaled(view: ViewRecipe) -> ViewRecipe:
        return dataclasses.replace(
            view,
            jitter=view.jitter if strength else 0.0,
            gray=view.gray if strength else 0.0,
            brightness=view.brightness * strength,
            contrast=view.contrast * strength,
            saturation=view.saturation * strength,
            hue=min(view.hue * strength, 0.5),
        )

    return dataclasses.replace(
        recipe,
        views=tuple(scaled(view) for view in recipe.views),
        source=f"{recipe.source}; colour strength x {strength:g}",
    )


def describe(recipe: Recipe) -> str:
    """Writes a recipe as text for the log: one line per view, nothing left out."""
    lines = [f"augmentation {recipe.name} ({recipe.source})"]
    for number, view in enumerate(recipe.views, 1):
        lines.append(f"  view {number}: " + ", ".join(_steps(view)))
    mean = "none (input in [0, 1])"
    if recipe.mean is not None and recipe.std is not None:
        mean = f"mean {_numbers(recipe.mean)} std {_numbers(recipe.std)}"
    shared = ["  all views from one crop, the first view's"] * recipe.shared_crop
    return "\n".join([*lines, *shared, f"  the encoder normalises: {mean}"])


def _numbers(values: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{value:.4g}" for value in values) + ")"


def _steps(view: ViewRecipe) -> list[str]:
    steps = [
        f"crop {view.sampler} area {_numbers(view.area)} aspect "
        f"{_numbers(view.aspect)} {view.resize}",
        f"flip p={view.flip:g}",
    ]
    words = {
        "jitter": f"brightness {view.brightness:g} ({view.brightness_mode}) contrast "
        f"{view.contrast:g} saturation {view.saturation:g} hue {view.hue:g} "
        f"({'PIL' if view.pil_color else 'TF'} colour)",
        "blur": f"sigma {_numbers(view.blur_sigma)} per {view.blur_sigma_per}, "
        f"{view.blur_border} border",
        "solarize": f"threshold {view.solarize_threshold:g}",
        "recrop": f"area {_numbers(view.area)} flip p={view.flip:g}",
        "cutout": f"side {_numbers(view.cutout_side)}",
        "noise": f"sigma {_numbers(view.noise_sigma)}",
    }
    for name in view.active:
        step = f"{name} p={getattr(view, name):g} {words.get(name, '')}"
        steps.append(step.rstrip())
    return steps
