"""Several fractions and seeds of one command."""

import pytest

from tfssl.config import Config, resolve
from tfssl.config.label_cells import cells, fractions, is_curve
from tfssl.config.rules import validate


def config(**flags):
    return resolve(Config(run_dir="x", **flags))


def test_cells_are_every_fraction_and_seed_and_no_curve_themselves():
    several = config(label_fraction="0.01,0.1,25", label_seeds=2, seed=4)
    found = cells(several)
    assert list(found) == [
        "0.01-seed-4", "0.01-seed-5", "0.1-seed-4", "0.1-seed-5", "25-seed-4",
        "25-seed-5",
    ]  # fmt: skip
    assert is_curve(several) and not any(map(is_curve, found.values()))
    one = found["25-seed-5"]
    assert (one.label_fraction, one.seed, one.label_seeds) == (25, 5, 1)
    assert validate(several) == []


def test_a_file_is_one_fraction_whatever_its_name():
    assert fractions("lists/1,2.txt") == ["lists/1,2.txt"]
    assert list(cells(config(label_fraction="lists/1.txt"))) == ["1.txt-seed-0"]
    assert not is_curve(config())


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"label_fraction": "0.1,1.5"}, "whole number of images a class"),
        ({"label_fraction": "0.1,0.1"}, "each fraction once"),
        ({"label_seeds": 2, "strategy": "multiworker"}, "a learning curve with"),
        (
            {"label_seeds": 2, "mode": "distill", "run_dir": "x"},
            "finetune before distill",
        ),
    ],
)
def test_what_no_curve_is(flags, words):
    problems = validate(resolve(Config(**{"run_dir": "x", **flags})))
    assert any(words in problem for problem in problems), problems
