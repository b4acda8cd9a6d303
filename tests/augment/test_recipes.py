"""The recipes hold the published numbers and are readable without TensorFlow."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

from tfssl.augment.recipes import (
    EVAL_TRANSFORMS,
    RECIPES,
    ViewRecipe,
    describe,
    eval_transform,
    with_strength,
)
from tfssl.errors import ConfigError

# (recipe, view, area, brightness, contrast, saturation, hue, jitter, gray, blur,
# solarize), typed from the papers: arXiv 2002.05709 app. A, 2006.07733 table 6,
# 1911.05722 sec. 3.3, 2003.04297 sec. 3.
PUBLISHED = [
    ("simclr", 0, (0.08, 1.0), 0.8, 0.8, 0.8, 0.2, 0.8, 0.2, 0.5, 0.0),
    ("simclr_v1", 1, (0.08, 1.0), 0.8, 0.8, 0.8, 0.2, 0.8, 0.2, 0.5, 0.0),
    ("simclr_cifar", 0, (0.08, 1.0), 0.4, 0.4, 0.4, 0.1, 0.8, 0.2, 0.0, 0.0),
    ("byol", 0, (0.08, 1.0), 0.4, 0.4, 0.2, 0.1, 0.8, 0.2, 1.0, 0.0),
    ("byol", 1, (0.08, 1.0), 0.4, 0.4, 0.2, 0.1, 0.8, 0.2, 0.1, 0.2),
    ("moco_v1", 0, (0.2, 1.0), 0.4, 0.4, 0.4, 0.4, 1.0, 0.2, 0.0, 0.0),
    ("moco_v2", 1, (0.2, 1.0), 0.4, 0.4, 0.4, 0.1, 0.8, 0.2, 0.5, 0.0),
    ("moco_cifar", 0, (0.08, 1.0), 0.4, 0.4, 0.4, 0.1, 0.8, 0.2, 0.0, 0.0),
]


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda r: f"{r[0]}-{r[1]}")
def test_published_numbers(row):
    name, number, area, *rest = row
    view = RECIPES[name].views[number]
    assert view.area == area
    assert [
        view.brightness,
        view.contrast,
        view.saturation,
        view.hue,
        view.jitter,
        view.gray,
        view.blur,
        view.solarize,
    ] == pytest.approx(rest)
    assert view.flip == 0.5


def test_what_the_families_disagree_on():
    assert RECIPES["simclr"].views[0].brightness_mode == "multiplicative"
    assert RECIPES["simclr_v1"].views[0].brightness_mode == "additive"
    assert RECIPES["byol"].views[0].brightness_mode == "additive"
    assert RECIPES["simclr"].views[0].blur_sigma_per == "batch"
    assert RECIPES["byol"].views[0].blur_sigma_per == "image"
    assert RECIPES["moco_v1"].views[0].active == ("gray", "jitter")
    assert RECIPES["moco_v2"].views[0].active == ("jitter", "gray", "blur")
    assert RECIPES["simclr"].mean is None
    assert RECIPES["moco_v2"].mean == (0.485, 0.456, 0.406)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_whole(name):
    recipe = RECIPES[name]
    assert recipe.name == name
    assert len(recipe.views) == (1 if name.startswith("linear") else 2)
    assert (recipe.mean is None) == (recipe.std is None)
    assert recipe.source
    text = describe(recipe)
    assert text.count("view") >= len(recipe.views)
    assert recipe.views[0].sampler in text
    assert eval_transform(recipe) is EVAL_TRANSFORMS[recipe.family]


def test_describe_leaves_nothing_out():
    text = describe(RECIPES["byol"])
    for part in ("solarize p=0.2", "blur p=0.1", "hue 0.1", "0.485", "additive"):
        assert part in text


def test_strength_scales_colour_only():
    half = with_strength(RECIPES["simclr"], 0.5).views[0]
    assert (half.brightness, half.hue) == (0.4, 0.1)
    assert (half.jitter, half.gray, half.blur, half.area) == (0.8, 0.2, 0.5, (0.08, 1))
    assert with_strength(RECIPES["simclr"], 1) is RECIPES["simclr"]
    assert with_strength(RECIPES["simclr"], 10).views[0].hue == 0.5


def test_strength_zero_is_crop_and_flip():
    recipe = with_strength(RECIPES["simclr_cifar"], 0)
    linear = RECIPES["linear_simclr"].views[0]
    view = dataclasses.replace(
        recipe.views[0], brightness_mode="multiplicative", blur_sigma_per="image"
    )
    assert view == linear


@pytest.mark.parametrize(
    "change",
    [
        {"flip": 1.5},
        {"sampler": "center"},
        {"area": (0.5, 0.2)},
        {"hue": 0.6},
        {"blur_border": "wrap"},
        {"pil_color": True, "brightness_mode": "additive"},
    ],
)
def test_impossible_numbers_are_refused(change):
    with pytest.raises(ConfigError, match="expected"):
        ViewRecipe(**change)


def test_negative_strength_is_refused():
    with pytest.raises(ConfigError, match="strength"):
        with_strength(RECIPES["byol"], -1)


def test_recipes_need_no_tensorflow():
    code = (
        "import sys; from tfssl.augment import RECIPES; "
        "sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
