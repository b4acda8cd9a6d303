"""`tools/bench_dense.py` measures the real steps, each row in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[1] / "tools" / "bench_dense.py"


@pytest.mark.slow
def test_a_table_of_one_row():
    flags = "--encoders resnet10x0.125_cifar --image_sizes 32 --tasks segment"
    command = [sys.executable, TOOL, *flags.split(), "--batch_size=2", "--seconds=0"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    heads, rule, row = done.stdout.splitlines()
    found = dict(zip(*([w.strip() for w in line.strip("|").split("|")]
                       for line in (heads, row)), strict=True))  # fmt: skip
    assert set(rule) == {"|", "-"}
    assert found["task"] == "segment" and found["batch"] == "2"
    step = float(found["ms"])
    assert float(found["images/s"]) == pytest.approx(2000 / step, rel=0.2)
    assert float(found["peak MB"]) > 100 and float(found["CPU ms"]) > 0
