"""Every mode on the embedded data, as the command line runs it."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.tiny import COMMON, OF_METHOD
from tests.worker_processes import ROOT
from tfssl.config.methods import METHODS
from tfssl.main import main
from tfssl.runs import checkpoint
from tfssl.train import job


def argv(method, run_dir, mode="pretrain", **more):
    flags = {**COMMON, **OF_METHOD[method], **more}
    flags |= {"method": method, "run_dir": run_dir, "mode": mode}
    words = [
        f"--{'' if value else 'no'}{name}"
        if isinstance(value, bool)
        else f"--{name}={value}"
        for name, value in flags.items()
    ]
    return ["tfssl", *words]


class StopAfterOneCall:
    """Stands in for StopRequest: a signal during the first call."""

    asked, name = True, "SIGINT"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


def tensors(run_dir, step=6):
    return checkpoint.read(run_dir / "checkpoints" / f"step-{step:09d}")


# One method in the fast set, all of them in the slow one.
CASES = [
    method if method == "simclr" else pytest.param(method, marks=pytest.mark.slow)
    for method in sorted(METHODS)
]


@pytest.fixture(scope="module", params=CASES)
def finished(request, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp(request.param)
    assert main(argv(request.param, run_dir, knn_every=1.5)) == 0
    return request.param, run_dir


def test_run_directory_holds_what_the_design_says(finished):
    _, run_dir = finished
    rows = [json.loads(line) for line in (run_dir / "log.jsonl").open()]
    assert [row["step"] for row in rows] == [2, 4, 6]
    for field in ("epoch", "loss", "learning_rate", "images_per_second", "data_wait"):
        assert all(field in row for row in rows), field
    assert 0 <= rows[-1]["knn_top1"] <= 1
    assert (run_dir / "flags.cfg").exists()
    assert (run_dir / "checkpoints" / "step-000000006" / "manifest.json").exists()


def assert_same_weights(run_dir, other):
    a, b = tensors(run_dir), tensors(other)
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def assert_same_run(whole, resumed):
    """Last checkpoints equal in every bit, and every logged step there once."""
    assert_same_weights(whole, resumed)
    rows = [json.loads(line)["step"] for line in (resumed / "log.jsonl").open()]
    assert rows == [2, 4, 6]


def test_stopped_and_resumed_is_bit_identical(finished, tmp_path, monkeypatch, capsys):
    method, whole = finished
    flags = argv(method, tmp_path, knn_every=1.5)
    with monkeypatch.context() as patch:
        patch.setattr(job, "StopRequest", StopAfterOneCall)
        assert main(flags) == 42
    said = capsys.readouterr().out
    assert "stopped by SIGINT after step 2" in said
    assert f"--flagfile={tmp_path}/flags.cfg" in said
    assert main(["tfssl", f"--flagfile={tmp_path}/flags.cfg"]) == 0
    assert_same_run(whole, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "more"),
    [("moco", {"dictionary": "bank"}), ("simclr", {"queue_size": 64})],
)
def test_what_else_moves_is_in_the_checkpoint(method, more, tmp_path, monkeypatch):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert main(argv(method, whole, **more)) == 0
    with monkeypatch.context() as patch:
        patch.setattr(job, "StopRequest", StopAfterOneCall)
        assert main(argv(method, stopped, **more)) == 42
    assert main(argv(method, stopped, **more)) == 0
    assert_same_weights(whole, stopped)


def test_a_finished_run_is_left_alone(finished, capsys):
    _, run_dir = finished
    before = tensors(run_dir)
    assert main(["tfssl", f"--flagfile={run_dir}/flags.cfg"]) == 0
    assert "the run is complete" in capsys.readouterr().out
    after = tensors(run_dir)
    assert all(np.array_equal(before[n], after[n]) for n in before)


def test_other_flags_are_refused_and_nothing_is_lost(finished, capsys):
    method, run_dir = finished
    assert main(argv(method, run_dir, learning_rate=0.5, knn_every=1.5)) == 2
    assert "--learning_rate=0.5" in capsys.readouterr().err
    assert tensors(run_dir)


@pytest.mark.slow
def test_knn_and_linear_write_numbers_with_their_protocol(finished):
    method, run_dir = finished
    modes = {"mode": "knn,linear", "run_dir": run_dir, "linear_epochs": 2}
    words = [f"--{name}={value}" for name, value in modes.items()]
    words += ["--baselines", "--linear_learning_rates=0.1,1", "--noprogress"]
    assert main(["tfssl", *words]) == 0, method
    results = json.loads((run_dir / "results.json").read_text())
    baselines = results["baselines"]
    for scores in (results, baselines["raw_pixels"], baselines["untrained"]):
        for protocol in ("knn", "linear"):
            assert 0 <= scores[protocol]["top1"] <= 1
            assert scores[protocol]["protocol"]
    assert results["knn"]["k"] == 64
    assert "64" in results["knn"]["note"]
    assert "steps only: a longer one has a larger linear_epochs" in str(results)


def test_export_serves_what_the_encoder_computes(finished):
    _, run_dir = finished
    words = ["--mode=export", "--noexport_verify", f"--run_dir={run_dir}"]
    assert main(["tfssl", *words]) == 0
    served = tf.saved_model.load(str(run_dir / "saved_model"))
    picture = tf.io.encode_png(tf.zeros([16, 16, 3], tf.uint8))
    from_bytes = served.signatures["serving_default"](picture[None])["features"]
    images = tf.zeros([1, 16, 16, 3])
    from_floats = served.signatures["features"](images)["features"]
    np.testing.assert_allclose(from_bytes, from_floats, rtol=1e-5)


def test_report_is_one_file(finished):
    _, run_dir = finished
    assert main(["tfssl", "--mode=report", f"--run_dir={run_dir}"]) == 0
    page = (run_dir / "report" / "index.html").read_text()
    assert "data:image/png;base64" in page and 'src="http' not in page


@pytest.mark.slow
def test_init_from_starts_from_the_encoder_only(finished, tmp_path):
    method, source = finished
    flags = argv(method, tmp_path, init_from=source, train_steps=1)
    assert main(flags) == 0
    start, after = tensors(source), tensors(tmp_path, step=1)
    kernel = "online/encoder/stem_conv/kernel"
    # Learning rate 0 at step 0 for byol and simclr; tiny otherwise.
    np.testing.assert_allclose(after[kernel], start[kernel], atol=0.05)
    assert after["step"] == 1


@pytest.mark.slow
def test_an_encoder_from_outside(tmp_path, monkeypatch, capsys):
    """Every mode, and a run that was stopped; evaluation in a process of its own.

    The encoder has dropout, whose state must be restored.
    """
    encoder, size = "tests.foreign_models:small", 16
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    flags = {"encoder": encoder, "image_size": size, "knn_every": 1.5}
    assert main(argv("byol", whole, **flags)) == 0
    with monkeypatch.context() as patch:
        patch.setattr(job, "StopRequest", StopAfterOneCall)
        assert main(argv("byol", parts, **flags)) == 42
    code = ["-m", "tfssl.main", f"--flagfile={parts}/flags.cfg"]
    after = "--mode=pretrain,knn,linear,export,report"
    more = ["--linear_epochs=1", "--linear_learning_rates=1", "--noexport_verify"]
    subprocess.run([sys.executable, *code, after, *more], check=True, cwd=ROOT)
    assert_same_weights(whole, parts)
    served = tf.saved_model.load(str(parts / "saved_model"))
    images = tf.random.stateless_uniform([2, size, size, 3], [1, 2])
    features = served.signatures["features"](images)["features"]
    assert np.isfinite(features).all() and not np.array_equal(*features)
    assert main(["tfssl", "--mode=export", "--format=keras", f"--run_dir={parts}"]) == 0
    loaded = keras.models.load_model(parts / "keras" / "encoder.keras")
    np.testing.assert_allclose(loaded(images), features, rtol=1e-4, atol=1e-5)
    assert main(argv("byol", whole, **{**flags, "encoder": "resnet18_cifar"})) == 2
    assert f"--encoder={encoder}" in capsys.readouterr().err


def test_more_images_a_batch_than_there_are(tmp_path, capsys):
    assert main(argv("simclr", tmp_path, batch_size=512)) == 2
    assert "--batch_size" in capsys.readouterr().err
    assert not (tmp_path / "flags.cfg").exists()


@pytest.mark.slow
def test_labels_are_needed_for_linear(tmp_path, capsys):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for i in range(80):
        pixels = tf.random.stateless_uniform([20, 20, 3], [i, 0], 0, 255, tf.int32)
        data = tf.io.encode_png(tf.cast(pixels, tf.uint8)).numpy()
        (pictures / f"{i}.png").write_bytes(data)
    run_dir = tmp_path / "run"
    assert main(argv("simclr", run_dir, dataset=f"folder:{pictures}")) == 0
    assert main(["tfssl", "--mode=linear", f"--run_dir={run_dir}"]) == 1
    assert "label" in capsys.readouterr().err
