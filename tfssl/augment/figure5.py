"""Recipes of SimCLR's Figure 5: one or two operators, on one branch only.

arXiv 2002.05709, section 3.1. Every image is cropped and resized ONCE, and both
branches start from that crop; the operators change the first branch, the second one
stays as it is. So `crop` is a second random crop, of the first branch alone. Reading
this needs no TensorFlow.

Colour and blur are those of the paper's appendix A (strength 1, brightness additive as
in its first release). For the operators that no recipe trains with the paper gives no
numbers; these are ours, and every one of them is applied to every image:

* cutout: a grey square, side 1/4 to 1/2 of the image's, centre anywhere;
* noise: Gaussian, standard deviation 0.05 to 0.25 of the range;
* Sobel: length of each channel's gradient, cut at 1;
* rotate: 90, 180 or 270 degrees, equally likely (Figure 4).
"""

from __future__ import annotations

from typing import Any

from tfssl.augment.recipe_types import Recipe, ViewRecipe
from tfssl.config.augment_name import FIGURE5, figure5_operators

_CROP: dict[str, Any] = {"sampler": "simclr"}
_COLOR: dict[str, Any] = {
    "jitter": 0.8,
    "brightness": 0.8,
    "contrast": 0.8,
    "saturation": 0.8,
    "hue": 0.2,
    "brightness_mode": "additive",
    "gray": 0.2,
}

# Operator to the steps it is made of, and their numbers in a `ViewRecipe`.
_OPERATORS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "crop": (("recrop",), {"recrop": 1.0}),
    "cutout": (("cutout",), {"cutout": 1.0}),
    "color": (("jitter", "gray"), _COLOR),
    "sobel": (("sobel",), {"sobel": 1.0}),
    "noise": (("noise",), {"noise": 1.0}),
    "blur": (("blur",), {"blur": 0.5, "blur_sigma_per": "batch"}),
    "rotate": (("rotate",), {"rotate": 1.0}),
}


def figure5(operators: tuple[str, ...]) -> Recipe:
    """Returns the recipe of a cell of the figure.

    Args:
      operators: One or two of `augment_name.FIGURE5_OPERATORS`, first applied first.

    Returns:
      A recipe of two views: the changed branch and the unchanged one.

    Raises:
      ConfigError: Unknown operators, more than two, or one twice.
    """
    name = FIGURE5 + "+".join(operators)
    numbers: dict[str, Any] = {"steps": ()}
    for operator in figure5_operators(name):
        steps, values = _OPERATORS[operator]
        numbers |= values | {"steps": numbers["steps"] + steps}
    return Recipe(
        name=name,
        views=(ViewRecipe(**_CROP, **numbers), ViewRecipe(**_CROP)),
        mean=None,
        std=None,
        source="arXiv 2002.05709 figure 5; the operators' numbers are partly ours",
        family="simclr",
        shared_crop=True,
    )
