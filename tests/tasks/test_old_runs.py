"""Run directories that version 0.1.0 wrote: resumed, evaluated, exported, reported."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
GOLDENS = ROOT / "tests" / "goldens" / "runs"
LAST = "step-000000006"
TOLERANCE = 0.05
"""The old code with other kernels was 1.6 % of a velocity's length away; see README."""


def unpacked(name: str, folder: Path) -> Path:
    with tarfile.open(GOLDENS / f"{name}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder / name


def go(run_dir: Path, *flags: str) -> int:
    """In a process of its own, as the numbers were made."""
    words = [f"--flagfile={run_dir}/flags.cfg", f"--run_dir={run_dir}", *flags]
    return subprocess.run(
        [sys.executable, "-m", "tfssl.main", *words], cwd=ROOT
    ).returncode


def summary(value) -> np.ndarray:
    """[5]: products with four fixed directions, and the length."""
    flat = np.asarray(value, np.float64).ravel()
    directions = np.random.RandomState(0).standard_normal((flat.size, 4))
    return np.append(flat @ directions, np.linalg.norm(flat))


def summaries(folder: Path) -> np.ndarray:
    from tfssl.runs import checkpoint

    tensors = checkpoint.read(folder)
    return np.stack([summary(tensors[name]) for name in sorted(tensors)])


def assert_continued(run_dir: Path):
    """Step 6 is what version 0.1.0 made of the same step 3."""
    want = np.load(GOLDENS / "reference.npz")[run_dir.name]
    got = summaries(run_dir / "checkpoints" / LAST)
    assert got.shape == want.shape
    # A product with a direction is about as long as the tensor.
    off = np.abs(got - want) / (want[:, 4:] + 1e-3)
    print(f"largest difference: {off.max():.1e} of a tensor's length")
    assert off.max() < TOLERANCE
    rows = [json.loads(line) for line in (run_dir / "log.jsonl").open()]
    assert [row["step"] for row in rows] == [3, 6]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["byol", "moco_queue"])
def test_goes_on_as_the_old_code_did(name, tmp_path):
    run_dir = unpacked(name, tmp_path)
    assert go(run_dir) == 0
    assert_continued(run_dir)


@pytest.mark.slow
def test_goes_on_and_is_evaluated_and_exported(tmp_path):
    import tensorflow as tf

    run_dir = unpacked("simclr_memory", tmp_path)
    assert go(run_dir) == 0
    assert_continued(run_dir)
    flags = ["--knn_k=20", "--linear_epochs=1", "--linear_batch_size=64"]
    flags += ["--linear_learning_rates=1", "--mode=knn,linear,export"]
    flags += ["--noexport_verify"]
    assert go(run_dir, *flags) == 0
    want = json.loads((GOLDENS / "simclr_memory.results.json").read_text())
    got = json.loads((run_dir / "results.json").read_text())
    for protocol in ("knn", "linear"):
        # One of 200 images may fall to the other side on another processor.
        assert got[protocol]["top1"] == pytest.approx(want[protocol]["top1"], abs=0.006)
    served = tf.saved_model.load(str(run_dir / "saved_model")).signatures["features"]
    images = np.random.RandomState(1).uniform(size=(4, 32, 32, 3)).astype(np.float32)
    features = served(images=tf.constant(images))["features"].numpy()
    expected = np.load(GOLDENS / "reference.npz")["features"]
    np.testing.assert_allclose(features, expected, atol=1e-4 * np.abs(expected).max())


def test_flags_and_checkpoint_are_read(tmp_path):
    from tfssl.config.inherit import stored_config
    from tfssl.runs import checkpoint

    run_dir = unpacked("byol", tmp_path)
    config = stored_config(str(run_dir))
    assert (config.method, config.predictor_hidden) == ("byol", 32)
    folder = run_dir / "checkpoints" / "step-000000003"
    assert checkpoint.damage(folder) is None
    assert checkpoint.read(folder, "step")["step"] == 3


@pytest.mark.slow
def test_the_report_shows_the_old_scores(tmp_path):
    run_dir = unpacked("simclr_memory", tmp_path)
    shutil.copy(GOLDENS / "simclr_memory.results.json", run_dir / "results.json")
    assert go(run_dir, "--mode=report") == 0
    page = (run_dir / "report" / "index.html").read_text()
    assert "13.0" in page and "10.0" in page
    assert "weighted kNN, cosine similarity, k=20" in page
