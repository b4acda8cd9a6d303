"""The grammar of `--augment`, and its answers to what is not in it."""

import dataclasses

import pytest

from tfssl.config import Config
from tfssl.config.augment_name import FIGURE5_OPERATORS, figure5_operators
from tfssl.config.rules import validate
from tfssl.errors import ConfigError


def test_cells_of_the_figure():
    assert figure5_operators("figure5:sobel") == ("sobel",)
    assert figure5_operators("figure5:rotate+crop") == ("rotate", "crop")
    assert figure5_operators("simclr") == ()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("figure5:sobell", "one of blur, color, crop, cutout, noise, rotate, sobel"),
        ("figure5:sobell+colour", "=colour"),
        ("figure5:crop+crop", "try --augment=figure5:crop"),
        ("figure5:crop+blur+color", "one operator or two"),
        ("figure5:", "operator="),
        ("figure5:crop+", "operator="),
        ("figure5", "figure5:FIRST"),
        ("simcrl", "try --augment=simclr"),
    ],
)
def test_refused_before_tensorflow(name, words):
    if name.startswith("figure5:"):
        with pytest.raises(ConfigError):
            figure5_operators(name)
    problems = validate(Config(run_dir="x", augment=name))
    assert any(words in problem for problem in problems), problems


def test_strength_does_not_go_with_the_figure():
    config = Config(run_dir="x", augment="figure5:color")
    assert validate(config) == []
    (problem,) = validate(dataclasses.replace(config, jitter_strength=0.5))
    assert "--jitter_strength=0.5" in problem


@pytest.mark.parametrize("first", FIGURE5_OPERATORS)
@pytest.mark.parametrize("second", ["", *FIGURE5_OPERATORS])
def test_every_cell_has_a_recipe(first, second):
    from tfssl.augment.recipes import named

    if first == second:
        return
    name = "figure5:" + "+".join(filter(None, (first, second)))
    changed, unchanged = named(name).views
    assert unchanged.active == () and changed.active
    steps = {"crop": "recrop", "color": "jitter"}
    assert changed.active[0] == steps.get(first, first)
    if second:
        assert changed.steps.index(steps.get(second, second)) > 0
