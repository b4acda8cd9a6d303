"""`--mode=convert` as the command line runs it, and what follows on its result."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from tests.weights.conftest import kit, small_byol, small_simclr
from tfssl import build
from tfssl.build import networks
from tfssl.config.inherit import stored_config
from tfssl.main import main
from tfssl.runs import checkpoint


def go(*flags) -> int:
    return main(["tfssl", *map(str, flags)])


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """A thin SimCLR of TensorFlow 2, and the run directory made of it."""
    folder = tmp_path_factory.mktemp("convert")
    tools = kit("simclr", "write_simclr_ckpt")
    rows = small_simclr(tools.rule)
    tools.writer.write_tf2(str(folder / "ckpt-7"), rows, "tame", step=7)
    source, run_dir = f"simclr:{folder}/ckpt-7", folder / "run"
    assert go("--mode=convert", f"--source={source}", f"--run_dir={run_dir}") == 0
    return source, run_dir


def test_run_directory_like_any_other(converted):
    source, run_dir = converted
    config = stored_config(str(run_dir))
    assert (config.encoder, config.encoder_family) == ("resnet18x0.125_cifar", "simclr")
    assert (config.image_size, config.augment) == (32, "simclr_cifar")
    assert (config.source, config.projector_dim) == (source, 16)
    record = json.loads((run_dir / "provenance.json").read_text())
    assert len(record["source"]["files"][0]["sha256"]) == 64
    assert record["licence"]["weights"] == "Apache-2.0"
    assert record["preprocessing"]["evaluation"]["mean"] is None
    assert {"online/encoder": 105, "probe": 2}.items() <= record["used"].items()
    reasons = {entry["why"]: entry["names"] for entry in record["ignored"]}
    assert len(reasons["slot of the optimiser"]) == 73
    assert "Apache-2.0" in (run_dir / "LICENSE-weights.txt").read_text()


def test_names_are_those_of_a_run_of_our_own(converted):
    _, run_dir = converted
    config = stored_config(str(run_dir))
    method = networks.method(config, 10, 1, 64)
    want = {name: tuple(v.shape) for name, v in method.checkpoint_items().items()}
    tensors = checkpoint.read(run_dir / "checkpoints" / "step-000000007")
    assert int(tensors.pop("step")) == 7
    assert {name: value.shape for name, value in tensors.items()} == want


def test_the_same_again_changes_nothing_another_is_refused(converted, capsys):
    source, run_dir = converted
    before = (run_dir / "provenance.json").stat().st_mtime_ns
    assert go("--mode=convert", f"--source={source}", f"--run_dir={run_dir}") == 0
    assert "already" in capsys.readouterr().out
    assert go("--mode=convert", f"--source={source}x", f"--run_dir={run_dir}") == 2
    assert f"{source}x" in capsys.readouterr().err
    assert (run_dir / "provenance.json").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--encoder=resnet50", "--encoder=resnet18x0.125_cifar, which the file holds"),
        ("--projector_dim=64", "--projector_dim=16, which the file holds"),
        ("--method=byol", "--method=simclr, which the file holds"),
        ("--image_size=224", "images up to 128 pixels for the 32-pixel stem"),
    ],
)
def test_what_contradicts_the_file_is_refused(converted, tmp_path, capsys, flag, words):
    source, _ = converted
    run_dir = tmp_path / "run"
    code = go("--mode=convert", f"--source={source}", f"--run_dir={run_dir}", flag)
    assert code == 2
    assert words in capsys.readouterr().err
    assert not (run_dir / "flags.cfg").exists()
    assert not (run_dir / "checkpoints").exists()


def test_training_on_in_it_is_refused_with_the_way(converted, capsys):
    _, run_dir = converted
    assert go("--mode=pretrain", f"--run_dir={run_dir}") == 2
    said = capsys.readouterr().err
    assert f"--init_from={run_dir}" in said and "--encoder_family=simclr" in said


def test_another_family_does_not_start_from_it(converted, tmp_path, capsys):
    _, run_dir = converted
    flags = ["--encoder=resnet18x0.125_cifar", "--encoder_family=moco"]
    flags += [f"--init_from={run_dir}", f"--run_dir={tmp_path}"]
    assert go("--mode=pretrain", *flags) == 2
    assert "--encoder_family=simclr, as the run there has it" in capsys.readouterr().err


def test_a_failure_leaves_no_run(tmp_path, monkeypatch, converted):
    source, _ = converted

    def broken(config):
        raise KeyboardInterrupt

    monkeypatch.setattr("tfssl.tasks.convert._try", broken)
    with pytest.raises(KeyboardInterrupt):
        go("--mode=convert", f"--source={source}", f"--run_dir={tmp_path}")
    left = [p.name for p in tmp_path.rglob("*") if p.is_file()]
    assert left == [".lock"]


@pytest.mark.slow
def test_evaluations_exports_and_a_new_run_take_it(converted, tmp_path):
    _, run_dir = converted
    short = ["--dataset=shapes:64", "--linear_epochs=1", "--linear_learning_rates=1"]
    short += ["--noprogress", "--notensorboard", f"--run_dir={run_dir}"]
    assert go("--mode=knn,linear,export,report", *short) == 0
    results = json.loads((run_dir / "results.json").read_text())
    assert 0 <= results["linear"]["top1"] <= 1 and 0 <= results["knn"]["top1"] <= 1
    extra = run_dir / "saved_model" / "assets.extra"
    assert "Apache-2.0" in (extra / "LICENSE-weights.txt").read_text()
    facts = json.loads((extra / "metadata.json").read_text())
    assert facts["provenance"]["source"]["kind"] == "simclr"
    new = ["--encoder=resnet18x0.125_cifar", "--batch_size=16", "--train_steps=1"]
    new += ["--dataset=shapes:64", "--noprogress", "--notensorboard"]
    new += ["--noexport_verify"]
    new += [f"--init_from={run_dir}", f"--run_dir={tmp_path}"]
    assert go("--mode=pretrain,export", *new) == 0
    # The licence of the weights that it started from goes with it.
    extra = tmp_path / "saved_model" / "assets.extra"
    assert "Apache-2.0" in (extra / "LICENSE-weights.txt").read_text()


@pytest.mark.slow
def test_several_modes_in_one_command(tmp_path):
    tools = kit("byol", "write_byol_pkl")
    path = tmp_path / "pretrain.pkl"
    tools.writer.write(path, small_byol(tools.rule))
    run_dir = tmp_path / "run"
    flags = [f"--source=byol:{path}", f"--run_dir={run_dir}", "--image_size=64"]
    flags += ["--dataset=shapes:32", "--noprogress", "--knn_k=3"]
    flags += ["--noexport_verify"]
    assert go("--mode=convert,knn,export", *flags) == 0
    assert stored_config(str(run_dir)).augment == "byol"
    notice = run_dir / "saved_model" / "assets.extra" / "LICENSE-weights.txt"
    assert "CC BY-NC 4.0" in notice.read_text()
    assert "knn" in json.loads((run_dir / "results.json").read_text())


LOAD = """
import sys, numpy as np, keras, tfssl.models
model = keras.saving.load_model(sys.argv[1])
np.save(sys.argv[2], np.asarray(model(np.load(sys.argv[3]), training=False)))
print(type(model).__name__, sorted(model.pyramid_outputs))
"""


@pytest.mark.slow
def test_a_keras_file_opens_in_a_fresh_process(converted, tmp_path):
    _, run_dir = converted
    flags = ["--format=keras", "--noexport_verify", f"--run_dir={run_dir}"]
    assert go("--mode=export", *flags) == 0
    images = np.random.default_rng(0).random((2, 40, 32, 3), np.float32)
    np.save(tmp_path / "in.npy", images)
    argv = [run_dir / "keras" / "encoder.keras", tmp_path / "out", tmp_path / "in.npy"]
    said = subprocess.run(
        [sys.executable, "-c", LOAD, *map(str, argv)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert "Encoder ['P2', 'P3', 'P4', 'P5']" in said
    encoder = build.load(run_dir).encoder
    features = np.load(f"{tmp_path}/out.npy")
    square = np.asarray(encoder(images[:, :32], training=False))
    assert features.shape == square.shape
    assert (run_dir / "keras" / "LICENSE-weights.txt").exists()
    again = np.random.default_rng(1).random((2, 32, 32, 3), np.float32)
    np.save(tmp_path / "in.npy", again)
    subprocess.run([sys.executable, "-c", LOAD, *map(str, argv)], check=True)
    want = np.asarray(encoder(again, training=False))
    np.testing.assert_allclose(np.load(f"{tmp_path}/out.npy"), want, rtol=1e-5)
