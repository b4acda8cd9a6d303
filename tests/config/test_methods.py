"""A method's row: everything else derives from it, and a row that is not whole says so.

The six failures that a new method met on its way are here by name.
"""

from __future__ import annotations

import dataclasses
import sys
import types

import pytest

from tfssl.config import Config, Flags, MethodRow, flag, resolve
from tfssl.config import command_line as cli
from tfssl.config.flagfile import from_flagfile, to_flagfile
from tfssl.config.help_text import help_text
from tfssl.config.rules import validate
from tfssl.errors import ConfigError, message


@dataclasses.dataclass(frozen=True)
class OwnFlags(Flags):
    own_width: int = flag(512, "width of something", low=1, scope="encoder", small=64)
    own_switch: bool = flag(False, "does something")
    temperature: float = flag(0.3, "as others have it", above=0)


DEFAULTS = {
    "encoder_family": "moco",
    "augment": "moco_v2",
    "optimizer": "sgd",
    "learning_rate": 0.05,
    "weight_decay": 1e-4,
    "warmup_epochs": 0.0,
}


def no_wide(config):
    if config.own_width > 1000:
        yield message(f"--own_width={config.own_width}", "1000", "--own_width=1000")


ROW = MethodRow(
    build="nowhere:build", flags=OwnFlags, defaults=DEFAULTS, rules=(no_wide,)
)
NAME = "own_method_for_tests:ROW"


@pytest.fixture
def outside(monkeypatch):
    module = types.ModuleType("own_method_for_tests")
    module.ROW = ROW
    monkeypatch.setitem(sys.modules, module.__name__, module)


def problems_of(*words):
    with pytest.raises(ConfigError) as caught:
        cli.read(["tfssl", "--run_dir=nowhere", *words])
    return caught.value.problems


def test_an_unknown_method_lists_the_known_ones():
    (problem,) = problems_of("--method=simsiam")
    assert "expected one of byol, moco, simclr" in problem


def test_a_row_without_a_default_names_it():
    less = {name: v for name, v in DEFAULTS.items() if name != "weight_decay"}
    with pytest.raises(ConfigError, match="a method row without weight_decay"):
        MethodRow(build="x:y", flags=OwnFlags, defaults=less)


def test_a_row_without_small_defaults_has_the_large_ones(outside):
    got = resolve(Config(method=NAME, image_size=32))
    assert (got.learning_rate, got.augment) == (0.05, "moco_v2")
    assert got.own_width == 64  # a field may say its own
    assert resolve(Config(method=NAME, image_size=224)).own_width == 512


def test_no_flag_is_blamed_that_nobody_gave(outside):
    config, given = cli.read(["tfssl", "--run_dir=nowhere", f"--method={NAME}"])
    assert validate(config) == [] and given == {"run_dir", "method"}


def test_its_flags_are_read_bounded_ruled_stored_and_explained(outside):
    words = [f"--method={NAME}", "--own_width=99", "--own_switch", "--temperature=2"]
    config, _ = cli.read(["tfssl", "--run_dir=nowhere", *words])
    assert (config.own_width, config.own_switch, config.temperature) == (99, True, 2)
    assert config.of(OwnFlags) == OwnFlags(99, True, 2.0)
    assert from_flagfile(to_flagfile(config)) == config
    (problem,) = problems_of(f"--method={NAME}", "--own_width=0")
    assert "--own_width=0; expected a number >= 1" in problem
    (problem,) = problems_of(f"--method={NAME}", "--own_width=2000")
    assert "try --own_width=1000" in problem
    (problem,) = problems_of(f"--method={NAME}", "--predictor=mlp")
    assert "--predictor only with byol" in problem
    assert "--own_width=(own_method_for_tests:ROW: 512)" in help_text(
        ["tfssl", f"--method={NAME}", "--help"]
    )


def test_its_flags_are_nobody_elses(outside):
    (problem,) = problems_of("--method=byol", "--own_switch")
    assert "the unknown flag --own_switch" in problem


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"defaults": {**DEFAULTS, "own_width": 3}}, "stands with its field"),
        ({"small": {"learning_rat": 3}}, "defaults for learning_rat"),
    ],
)
def test_a_row_that_says_something_strange_is_refused(changes, words):
    with pytest.raises(ConfigError, match=words):
        MethodRow(**{"build": "x:y", "flags": OwnFlags, "defaults": DEFAULTS} | changes)


def test_a_shared_flag_is_no_methods_own():
    @dataclasses.dataclass(frozen=True)
    class Taken(Flags):
        batch_size: int = flag(3, "taken")

    with pytest.raises(ConfigError, match="with the field batch_size"):
        MethodRow(build="x:y", flags=Taken, defaults=DEFAULTS)


def test_a_modes_flag_is_no_methods_own(monkeypatch):
    @dataclasses.dataclass(frozen=True)
    class Taken(Flags):
        knn_k: int = flag(3, "taken")

    module = types.ModuleType("taking_method_for_tests")
    module.ROW = MethodRow(build="x:y", flags=Taken, defaults=DEFAULTS)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    (problem,) = problems_of("--method=taking_method_for_tests:ROW")
    assert "--knn_k of its own" in problem


def test_a_stored_method_that_is_gone_says_so():
    with pytest.raises(ConfigError, match="No module named 'gone_method'"):
        from_flagfile("--method=gone_method:ROW\n--own_width=3\n")
