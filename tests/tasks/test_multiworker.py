"""The command line on two worker processes: one run directory, written by one."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from tests import worker_processes
from tests.tiny import COMMON, OF_METHOD
from tfssl.runs import checkpoint

pytestmark = pytest.mark.slow


def argv(run_dir, **more):
    flags = {**COMMON, **OF_METHOD["moco"], "learning_rate": 0.002, "method": "moco"}
    flags |= {"run_dir": run_dir, "mode": "pretrain,knn", "knn_every": 1.0, **more}
    words = [f"--{k}={str(v).lower() if v in (0, 1) else v}" for k, v in flags.items()]
    return ["tfssl.main", *words]


def pair(run_dirs, **more):
    return worker_processes.wait(
        worker_processes.start(
            [argv(d, strategy="multiworker", **more) for d in run_dirs],
            stdout=subprocess.DEVNULL,
        )
    )


def test_a_worker_says_for_whom_it_waits(tmp_path):
    command = [sys.executable, "-u", "-m", *argv(tmp_path, strategy="multiworker")]
    hosts = [f"localhost:{port}" for port in worker_processes.free_ports(2)]
    task = {"type": "worker", "index": 1}
    cluster = json.dumps({"cluster": {"worker": hosts}, "task": task})
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "TF_CONFIG": cluster}, cwd=worker_processes.ROOT,
    ) as alone:  # fmt: skip
        said = alone.stdout.readline()
        alone.kill()
    assert said.startswith("worker 1 of 2: waiting") and hosts[0] in said


def test_two_workers_stop_and_continue_as_one_process_runs(tmp_path):
    """The second worker is given another, empty folder: it needs not the chief's."""
    chief, other, alone = (tmp_path / name for name in ("chief", "other", "alone"))
    assert pair([chief, other], train_steps=3, mode="pretrain") == [0, 0]
    flags = chief / "flags.cfg"
    flags.write_text(flags.read_text().replace("train_steps=3", "train_steps=6"))
    assert pair([chief, other]) == [0, 0]
    assert not other.exists() or not list(other.iterdir())
    subprocess.run([sys.executable, "-m", *argv(alone)], check=True)

    rows = [json.loads(line) for line in (chief / "log.jsonl").open()]
    assert [row["step"] for row in rows][-2:] == [4, 6]
    assert all("knn_top1" in row for row in rows if row["step"] % 4 == 0)
    assert "knn" in json.loads((chief / "results.json").read_text())
    a, b = (checkpoint.read(d / "checkpoints/step-000000006") for d in (chief, alone))
    assert a.keys() == b.keys() and a["step"] == 6
    for role in ("online/encoder", "key/encoder", "queue/keys"):
        x, y = (np.concatenate([t[n].ravel() for n in t if role in n]) for t in (a, b))
        assert np.linalg.norm(x - y) <= 2e-4 * np.linalg.norm(y), role


def test_two_workers_fine_tune_as_one_process_does(tmp_path):
    """Both see the run, as on a shared disk; one writes it."""
    shared, alone = tmp_path / "shared", tmp_path / "alone"
    subprocess.run(
        [sys.executable, "-m", *argv(shared, train_steps=2, mode="pretrain")],
        check=True,
    )
    shutil.copytree(shared, alone)

    def tune(run_dir, **more):
        flags = {"run_dir": run_dir, "mode": "finetune", "finetune_epochs": 1}
        flags |= {"finetune_batch_size": 16, "finetune_learning_rate": 0.01, **more}
        return ["tfssl.main", *(f"--{name}={value}" for name, value in flags.items())]

    both = [tune(shared, strategy="multiworker")] * 2
    started = worker_processes.start(both, stdout=subprocess.DEVNULL)
    assert worker_processes.wait(started) == [0, 0]
    subprocess.run([sys.executable, "-m", *tune(alone)], check=True)
    a, b = (
        checkpoint.read(d / "finetune/checkpoints/step-000000004")
        for d in (shared, alone)
    )
    assert a.keys() == b.keys()
    for role in ("online/encoder", "probe"):
        x, y = (np.concatenate([t[n].ravel() for n in t if role in n]) for t in (a, b))
        assert np.linalg.norm(x - y) <= 2e-4 * np.linalg.norm(y), role
    assert "finetune" in json.loads((shared / "results.json").read_text())
