"""Segmentation on one replica and on two is the same training."""

import subprocess
import sys

import pytest


@pytest.mark.slow
def test_two_replicas_compute_what_one_does():
    program = [sys.executable, "-m", "tests.methods.segment_program"]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    found = dict(line.split() for line in done.stdout.splitlines()[-3:])
    assert set(found) == {"losses", "weights", "statistics"}
    for what, apart in found.items():
        assert float(apart) < 1e-5, what
