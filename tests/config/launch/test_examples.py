"""The scripts in launch/ that start workers write a TF_CONFIG that we read."""

import os
import subprocess
import textwrap
from pathlib import Path

import pytest

from tfssl.config import launch

LAUNCH = Path(__file__).parents[3] / "launch"


@pytest.fixture
def environment(tmp_path):
    """An environment whose `python` shows what it was given."""
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$TF_CONFIG"\necho "$@"\n')
    python.chmod(0o755)
    return {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}


def run(command, environment):
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True
    )
    config, arguments = done.stdout.splitlines()
    return launch.read_cluster({"TF_CONFIG": config}), arguments


def test_shell_script(environment):
    command = ["bash", LAUNCH / "multiworker_tf_config.sh", "1", "a:1", "b:2"]
    cluster, arguments = run([*command, "--", "--method=byol"], environment)
    assert (cluster.addresses, cluster.rank) == (("a:1", "b:2"), 1)
    assert arguments == "-m tfssl.main --method=byol --strategy=multiworker"


def test_jobset(environment):
    lines = (LAUNCH / "multiworker_jobset.yaml").read_text().splitlines()
    first = next(i for i, line in enumerate(lines) if line.endswith("- |")) + 1
    indent = len(lines[first]) - len(lines[first].lstrip())
    last = next(
        i for i in range(first, len(lines)) if not lines[i].startswith(" " * indent)
    )
    script = textwrap.dedent("\n".join(lines[first:last]))
    environment |= {"WORKERS": "4", "JOB_COMPLETION_INDEX": "2"}
    cluster, arguments = run(["bash", "-euc", script], environment)
    assert cluster.rank == 2
    assert cluster.addresses[3] == "tfssl-workers-0-3.tfssl:12345"
    assert cluster.size == 4 and "--strategy=multiworker" in arguments


def test_slurm_script_is_shell():
    script = LAUNCH / "multiworker_slurm.sbatch"
    assert subprocess.run(["bash", "-n", script]).returncode == 0
    assert "--strategy=multiworker" in script.read_text()
