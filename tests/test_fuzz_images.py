"""Damaged files end nothing, hang nothing and fill no memory, on any path."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[1] / "tools" / "fuzz_images.py"


@pytest.mark.slow
def test_damaged_files_are_refused_by_name_on_every_path():
    command = [sys.executable, TOOL, "--files=600", "--seed=1", "--megabytes=300"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    state = json.loads(done.stdout.splitlines()[-1])
    assert state["files"] == 600 and state["decoded"] > 30
    assert state["decoded"] + sum(state["refusals"].values()) == 600
    assert all(state["refusals"])
