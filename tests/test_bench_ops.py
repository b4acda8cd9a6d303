"""The operators' benchmark runs, and measures every operator that a view has."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tfssl.augment.recipe_types import STEPS

ROOT = Path(__file__).parents[1]


def run(*words):
    return subprocess.run(
        [sys.executable, "tools/bench_ops.py", *words],
        capture_output=True, text=True, cwd=ROOT, env=os.environ,
    )  # fmt: skip


def test_an_unknown_operator_is_refused():
    done = run("--ops=blurr")
    assert done.returncode == 2 and "blur" in done.stdout


@pytest.mark.slow
def test_every_form_of_every_operator():
    done = run("--batch=2", "--size=32", "--rounds=1")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found) == {*STEPS, "crop", "flip", "normalize"} - {"recrop"}
    for op, numbers in found.items():
        wanted = {"branching"} | ({"batched", "plain"} - {op} if op in STEPS else set())
        assert wanted <= set(numbers["ms"]) == set(numbers["ratios"])
        assert numbers["ratios"]["branching"] == 1
        assert all(value > 0 for value in numbers["ms"].values())
    assert {"keras", "keras_cv", "tf_image"} <= set(found["jitter"]["ms"]), done.stderr
