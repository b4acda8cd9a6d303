"""The tool that draws views: what it says was drawn is what the picture shows."""

import dataclasses
import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tfssl.augment.recipe_types import STEPS, ViewRecipe
from tfssl.augment.recipes import RECIPES
from tfssl.config.augment_name import FIGURE5_OPERATORS

SIZE = 24


@pytest.fixture(scope="module")
def tool():
    path = Path(__file__).parents[1] / "tools" / "show_views.py"
    spec = importlib.util.spec_from_file_location("show_views", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("gray", [0.0, pytest.param(0.5, marks=pytest.mark.slow)])
def test_the_words_are_the_picture(tool, tmp_path, files, gray):
    """Cut out by Pillow as the words say, the images give the views."""
    from tfssl.data import Folder, parse_split

    files.tree(tmp_path / "x", ["a"], 4, size=(60, 50))
    recipe = RECIPES["linear_moco"]
    view = dataclasses.replace(recipe.views[0], gray=gray)
    recipe = dataclasses.replace(recipe, views=(view, view))
    source = Folder(str(tmp_path / "x"), parse_split("all"))
    views, lines, images = tool.shown(source, recipe, 4, 4, SIZE)
    assert views.shape == (4, 2, SIZE, SIZE, 3) and len(lines) == 8
    assert len({line.partition(":")[2] for line in lines}) == 8
    for word in ["flipped"] + ["gray"] * bool(gray):
        # Otherwise the seed shows too little.
        assert 0 < sum(word in line for line in lines) < 8, word
    for line, shown in zip(lines, views.reshape(8, SIZE, SIZE, 3), strict=True):
        row, _, _, h, w, y, x = map(
            int,
            re.match(
                r" +image (\d) \(id (\d+)\) view (\d): "
                r"(\d+)x(\d+) of 60x50 at \((\d+), (\d+)\)",
                line,
            ).groups(),
        )
        picture = Image.fromarray(images[row]).crop((x, y, x + w, y + h))
        picture = picture.resize((SIZE, SIZE), Image.Resampling.BILINEAR)
        if "flipped" in line:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        want = np.asarray(picture, np.float32)
        if "gray" in line:
            want = np.repeat((want @ [0.2989, 0.587, 0.114])[..., None], 3, -1)
        np.testing.assert_allclose(shown, want, atol=2)
    tool.save(tool.strip(views, 16), tmp_path / "strip.png")
    assert Image.open(tmp_path / "strip.png").size == (64, 32)


def test_words_of_every_step(tool):
    drawn = {name: np.bool_(True) for name in STEPS} | {
        "order": np.array([3, 0, 1, 2]), "brightness": 1.2, "contrast": 0.7,
        "saturation": 1.1, "hue": -0.05, "sigma": 1.5, "mirrored": np.bool_(True),
        "recrop_box": np.array([0.1, 0.2, 0.5, 0.6]), "cutout_side": 0.3,
        "cutout_center": np.array([0.4, 0.9]), "noise_sigma": 0.125, "turns": 3,
    }  # fmt: skip
    view = ViewRecipe(steps=STEPS, **dict.fromkeys(STEPS, 1.0))
    words = ", ".join(tool.coloured(view, drawn))
    assert words == (
        "jitter hue -0.050 brightness 1.200 contrast 0.700 saturation 1.100, gray, "
        "blur sigma 1.50, solarize, recrop 0.50x0.60 at (0.10, 0.20), flipped, "
        "cutout side 0.30 around (0.40, 0.90), sobel, noise sigma 0.125, "
        "rotate 270 degrees"
    )
    drawn["noise"] = drawn["gray"] = np.bool_(False)
    assert len(tool.coloured(view, drawn)) == len(STEPS) - 2


def test_an_unknown_recipe(tool, tmp_path, capsys):
    assert tool.main([f"--out={tmp_path}", "--recipes=bylo"]) == 1
    assert "one of" in capsys.readouterr().err


def test_every_recipe_has_its_picture_in_the_documents(tool):
    figure5 = [f"figure5_{operator}" for operator in FIGURE5_OPERATORS]
    docs = Path(__file__).parents[1] / "docs" / "views"
    assert {p.stem for p in docs.glob("*.png")} >= {"images", *RECIPES, *figure5}
    assert sum(p.stat().st_size for p in docs.glob("*.png")) < 600_000
