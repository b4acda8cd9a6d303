"""A run goes on with another number of replicas: each start in a fresh process."""

import shutil
import subprocess
import sys

import numpy as np
import pytest

from tests.tasks.test_end_to_end import argv, tensors
from tests.worker_processes import ROOT

pytestmark = pytest.mark.slow

# A gentle rate, see tests/replica_worker.py: at .05 rounding grows at every step.
GENTLE = {"learning_rate": 0.002}
OTHER = {
    1: {"strategy": "one", "virtual_devices": 0},
    2: {"strategy": "mirrored", "virtual_devices": 2},
}


def train(method, run_dir, replicas):
    words = argv(method, run_dir, **GENTLE, **OTHER[replicas])[1:]
    command = [sys.executable, "-m", "tfssl.main", *words]
    subprocess.run(command, check=True, cwd=ROOT, timeout=600)


@pytest.mark.parametrize("method", ["byol", "moco"])
def test_one_to_two_and_two_to_one(method, tmp_path):
    whole = tmp_path / "1"
    train(method, whole, 1)
    want = tensors(whole)
    for first, second in ((1, 2), (2, 1)):
        run_dir = tmp_path / f"{first}to{second}"
        if first == 1:
            shutil.copytree(whole, run_dir)
        else:
            train(method, run_dir, first)
        shutil.rmtree(run_dir / "checkpoints" / "step-000000006")
        train(method, run_dir, second)
        got = tensors(run_dir)
        assert got.keys() == want.keys() and got["step"] == 6
        for role in ("online/encoder", "target/encoder", "key/encoder", "queue/keys"):
            names = [name for name in want if name.startswith(role)]
            if names:
                a, b = (
                    np.concatenate([t[n].ravel() for n in names]) for t in (want, got)
                )
                assert np.linalg.norm(a - b) <= 1e-5 * np.linalg.norm(a), role
