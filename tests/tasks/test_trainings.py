"""What every training has, whichever mode it is of; and modes one after the other."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tests.tasks.test_end_to_end import StopAfterOneCall, argv
from tfssl import build
from tfssl.main import main
from tfssl.models import Normalize
from tfssl.train import job, make_run_steps

pytestmark = pytest.mark.slow

# Small, so that a test is seconds; what a ResNet does is in the other files.
ENCODER = {"encoder": "tests.foreign_models:small"}
OF_MODE = {
    "finetune": {"finetune_epochs": 1, "finetune_batch_size": 16},
    "linear": {
        "linear_epochs": 1,
        "linear_batch_size": 16,
        "linear_learning_rates": "1",
    },
}
# 64 images of which one rate leaves all to training: 4 steps.


def words(run_dir, mode, **flags):
    flags = {**OF_MODE.get(mode, {}), "run_dir": run_dir, "mode": mode, **flags}
    return ["tfssl", "--noprogress", *(f"--{k}={v}" for k, v in flags.items())]


def rows(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").open()]


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("simclr")
    assert main(argv("simclr", run_dir, train_steps=2, **ENCODER)) == 0
    return run_dir


@pytest.fixture
def run_dir(pretrained, tmp_path):
    return shutil.copytree(pretrained, tmp_path / "run")


@pytest.mark.parametrize("mode", OF_MODE)
def test_the_recorders_flags_work(run_dir, mode):
    flags = {"keep_every": 1, "keep_checkpoints": 1, "checkpoint_every": 1}
    flags |= {"log_every": 1, "profile_steps": 1, "tensorboard": "true"}
    flags |= {"async_checkpoint": "false", "rewind_on_nan": 1}
    assert main(words(run_dir, mode, **flags)) == 0
    own = run_dir / mode
    assert [row["step"] for row in rows(own)] == [1, 2, 3, 4]
    assert rows(own)[-1]["epoch"] == 1
    assert json.loads((own / "profile.json").read_text())["steps"] == 1
    events = b"".join(f.read_bytes() for f in (own / "tensorboard").iterdir())
    assert b"views" in events and b"learning_rate" in events
    kept = sorted(f.name for f in (own / "checkpoints").glob("step-*"))
    # Step 0 is what a first rewind would go back to. A probe's go with its score.
    expected = [f"step-{step:09d}" for step in range(5)]
    assert kept == (expected if mode == "finetune" else [])


@pytest.mark.parametrize("mode", OF_MODE)
def test_nan_rewinds(run_dir, mode, monkeypatch):
    def breaking(strategy, state, *args, **more):
        run = make_run_steps(strategy, state, *args, **more)

        def steps(iterator, count):
            first = int(state.step.numpy())
            table = run(iterator, count)
            bad = first + np.arange(int(count)) == 2
            if state.rate_factor.numpy() == 1:
                table["loss"] = tf.where(bad, np.nan, table["loss"])
            return table

        return steps

    monkeypatch.setattr(job, "make_run_steps", breaking)
    flags = {"checkpoint_every": 1, "log_every": 1, "steps_per_loop": 1}
    assert main(words(run_dir, mode, **flags)) == 1
    shutil.rmtree(run_dir / mode)
    assert main(words(run_dir, mode, rewind_on_nan=1, **flags)) == 0
    found = rows(run_dir / mode)
    assert [row["step"] for row in found] == [1, 2, 3, 4]
    assert [row.get("rate_factor", 1) for row in found] == [1, 1, 0.5, 0.5]


def test_a_linear_probe_that_was_stopped_goes_on(run_dir, pretrained, monkeypatch):
    flags = {"checkpoint_every": 1, "log_every": 1, "steps_per_loop": 1}
    flags["linear_learning_rates"] = "0.1,1"
    whole = shutil.copytree(pretrained, run_dir.with_name("whole"))
    assert main(words(whole, "linear", **flags)) == 0
    with monkeypatch.context() as patch:
        patch.setattr(job, "StopRequest", StopAfterOneCall)
        assert main(words(run_dir, "linear", **flags)) == 42
    assert "linear" not in json.loads((run_dir / "results.json").read_text())
    (kept,) = (run_dir / "linear" / "checkpoints").glob("step-*")
    assert kept.name == "step-000000001"
    # A mark that only a probe that goes on leaves where it is.
    log = run_dir / "linear" / "log.jsonl"
    log.write_text(log.read_text().replace('{"step": 1', '{"mark": 1, "step": 1'))
    assert main(words(run_dir, "linear", **flags)) == 0
    assert rows(run_dir / "linear")[0]["mark"] == 1
    timed = {"images_per_second", "data_wait", "mark"}
    parts = [
        [{k: v for k, v in row.items() if k not in timed} for row in rows(d / "linear")]
        for d in (whole, run_dir)
    ]
    assert parts[0] == parts[1] and len(parts[0]) > 2
    a, b = (json.loads((d / "results.json").read_text()) for d in (whole, run_dir))
    assert a["linear"]["top1"] == b["linear"]["top1"]
    # Another probe is no continuation.
    with monkeypatch.context() as patch:
        patch.setattr(job, "StopRequest", StopAfterOneCall)
        assert main(words(run_dir, "linear", **flags)) == 42
    flags["linear_learning_rates"] = "0.3,1"
    assert main(words(run_dir, "linear", **flags)) == 0
    assert "mark" not in rows(run_dir / "linear")[0]


def test_a_mode_is_about_the_run_that_the_one_before_made(run_dir, capsys):
    chain = words(run_dir, "finetune,knn,export,report", **OF_MODE["finetune"])
    assert main(chain) == 0
    said = capsys.readouterr().out
    own = run_dir / "finetune"
    assert f"the fine-tuned run is {own}" in said
    assert f"exported {own} to {own / 'saved_model'}" in said
    assert not (run_dir / "saved_model").exists()
    images = np.random.default_rng(0).random((2, 16, 16, 3), np.float32)
    served = tf.saved_model.load(str(own / "saved_model")).signatures["features"]
    tuned = build.load(own)
    out = served(tf.constant(images))
    np.testing.assert_allclose(out["features"], tuned.features(images), rtol=1e-4)
    np.testing.assert_allclose(
        out["probabilities"], tuned.classify(images), rtol=1e-4, atol=1e-6
    )
    assert "knn" in json.loads((own / "results.json").read_text())
    assert "knn" not in json.loads((run_dir / "results.json").read_text())
    page = (run_dir / "report" / "index.html").read_text()
    assert not (own / "report").exists()
    assert "Fine-tuned" in page and "kNN" in page
    # The run itself is as it was, and alone it exports its own encoder.
    assert main(words(run_dir, "export", export_verify=False)) == 0
    alone = tf.saved_model.load(str(run_dir / "saved_model")).signatures["features"]
    plain = alone(tf.constant(images))
    assert "probabilities" not in plain
    assert not np.allclose(plain["features"], out["features"])


def test_two_runs_of_different_families_side_by_side(pretrained, tmp_path):
    images = np.random.default_rng(0).random((2, 24, 24, 3), np.float32)
    small = images[:, :16, :16]
    alone = build.load(pretrained).features(small)
    other = {"encoder_family": "moco", "image_size": 24, "augment": "byol_cifar"}
    assert main(argv("byol", tmp_path, train_steps=1, **ENCODER, **other)) == 0
    teacher, student = build.load(pretrained), build.load(tmp_path)
    families = [run.config.encoder_family for run in (teacher, student)]
    assert families == ["simclr", "moco"]
    assert (teacher.image_size, student.image_size) == (16, 24)
    # Each normalises for itself: SimCLR not at all, the other by ImageNet's numbers.
    none, own = (
        [layer for layer in run.encoder.layers if isinstance(layer, Normalize)]
        for run in (teacher, student)
    )
    assert not none and len(own) == 1
    mean = np.float32([[[[0.485, 0.456, 0.406]]]])
    np.testing.assert_allclose(own[0](mean), 0, atol=1e-6)
    np.testing.assert_array_equal(teacher.features(small), alone)
