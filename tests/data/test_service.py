"""Two worker processes make the batches that one process makes."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tfssl.augment import RECIPES
from tfssl.data.pipeline import training
from tfssl.data.shapes import Shapes
from tfssl.data.splits import parse_split

ROOT = Path(__file__).parents[2]
STEPS = 24


@pytest.fixture
def start():
    processes = []

    def run(*arguments):
        """Starts one server and returns the first line that it prints."""
        command = [sys.executable, str(ROOT / "tools" / "data_service.py"), *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        return process.stdout.readline()

    yield run
    for process in processes:
        process.kill()


@pytest.mark.slow
def test_two_workers_make_every_step_once_and_exactly(start):
    target = start("dispatcher").split()[-1]
    assert target.startswith("grpc://")
    for _ in range(2):
        address = target.removeprefix("grpc://")
        assert "worker of" in start("worker", f"--dispatcher={address}")
    settings = {
        "seed": 3,
        "start_step": 5,
        "global_batch": 8,
        "replica_batch": 8,
        "image_size": 16,
    }
    source = Shapes(parse_split("train"), examples=21, image_size=16)
    recipe = RECIPES["simclr_cifar"]
    served = training(source, recipe, **settings, service=target)
    here = training(source, recipe, **settings)
    expected = list(here.take(4 * STEPS).as_numpy_iterator())
    order = []
    for batch in served.take(STEPS).as_numpy_iterator():
        same = [
            i
            for i, wanted in enumerate(expected)
            if all(np.array_equal(batch[key], wanted[key]) for key in wanted)
        ]
        assert len(same) == 1, "a batch that no step of this process has"
        order += same
    assert len(set(order)) == STEPS
