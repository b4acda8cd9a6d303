"""tfssl in Python: the modes as functions, errors as exceptions, runs as things."""

import logging
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfssl
from tests.tiny import COMMON, OF_METHOD
from tfssl import api, tasks
from tfssl.config import Config
from tfssl.config.wording import with_dashes, without_dashes
from tfssl.show import console
from tfssl.train import job

TINY = {**COMMON, "train_steps": 2, "checkpoint_every": 2}
TINY["encoder"] = "tests.foreign_models:small"


def pretrained(run_dir, method="simclr", **more):
    return tfssl.pretrain(
        run_dir=run_dir, method=method, **{**TINY, **OF_METHOD[method], **more}
    )


# --- without TensorFlow -----------------------------------------------------------


def test_names_are_known_before_they_are_loaded():
    code = (
        "import sys, tfssl\n"
        "assert {'pretrain', 'load', 'ConfigError'} <= set(dir(tfssl))\n"
        "from tfssl import DataError\n"
        "assert issubclass(DataError, tfssl.TfsslError)\n"
        "try:\n    tfssl.nothing\n"
        "except AttributeError as e:\n    assert 'nothing' in str(e)\n"
        "assert callable(tfssl.export)\n"
        "slow = {'tensorflow', 'keras', 'numpy'} & set(sys.modules)\n"
        "sys.exit(f'imported {slow}' if slow else 0)\n"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"batchsize": 3}, ["argument batchsize", "batch_size"]),
        ({"mode": "knn"}, ["argument mode"]),
        ({"batch_size": "many"}, ["got batch_size=many", "a whole number"]),
        ({"batch_size": 2.5}, ["got batch_size=2.5"]),
        ({"image_size": 4, "seed": -1}, ["got image_size=4", "got seed=-1"]),
        ({"finetune_layer": 1}, ["got finetune_layer=1 with mode=pretrain"]),
        ({"symmetric": True}, ["got symmetric=True with method=simclr"]),
        ({"dataset": b"shapes"}, ["got dataset=b'shapes', of type bytes"]),
        ({"data_dir": (p for p in "ab")}, ["of type generator", "a list of those"]),
        ({"seed": object()}, ["of type object"]),
        ({"augment": {"simclr": 1}, "method": ["simclr"]}, ["of type dict"]),
        ({"lr_milestones": [1, None]}, ["got lr_milestones=None, of type NoneType"]),
        ({"epochs": True}, ["got epochs=True", "a whole number"]),
    ],
)
def test_wrong_arguments_are_exceptions_without_dashes(tmp_path, flags, words):
    with pytest.raises(tfssl.ConfigError) as caught:
        tfssl.pretrain(run_dir=tmp_path / "run", **flags)
    said = "\n".join(caught.value.problems)
    assert all(word in said for word in words), said
    assert "--" not in said.replace("tfssl --help", "")
    assert not (tmp_path / "run").exists()


def test_values_as_python_and_numpy_hold_them(tmp_path):
    flags = {
        "run_dir": tmp_path, "seed": np.int64(3), "progress": np.bool_(False),
        "learning_rate": np.float32(0.1), "epochs": np.array(7),
        "finetune_epochs": range(10, 40, 10), "transfer_shots": np.array([1.0, 5]),
        "transfer_runs": [tmp_path / "a", "b"], "label_fraction": (0.1, np.int8(1)),
    }  # fmt: skip
    got = api._given(flags)
    assert got == {
        "run_dir": str(tmp_path), "seed": 3, "progress": False, "learning_rate": 0.1,
        "epochs": 7, "finetune_epochs": (10, 20, 30), "transfer_shots": (1.0, 5.0),
        "transfer_runs": (f"{tmp_path}/a", "b"), "label_fraction": "0.1,1",
    }  # fmt: skip


def test_a_curve_is_returned_and_not_the_run_that_it_began_from(monkeypatch, tmp_path):
    """It leaves no run; `load` would give the pre-trained one, or an older one."""
    outcome = (Config(run_dir=str(tmp_path)), [["a curve"]])
    monkeypatch.setattr(tasks, "run", lambda parsed: outcome)
    monkeypatch.setattr(api, "load", None)
    for function in (tfssl.finetune, tfssl.supervised, tfssl.distill):
        assert function(run_dir=tmp_path, label_seeds=2) == ["a curve"]


def test_no_run_to_evaluate(tmp_path):
    with pytest.raises(tfssl.ConfigError, match="holds no run"):
        tfssl.knn(run_dir=tmp_path)
    with pytest.raises(tfssl.CheckpointError, match="holds no run"):
        tfssl.load(tmp_path)


@pytest.mark.parametrize(
    ("python", "command_line"),
    [
        (
            "got batch_size=3; try batch_size=4",
            "got --batch_size=3; try --batch_size=4",
        ),
        ("a smaller learning_rate", "a smaller --learning_rate"),
        ("symmetric=False or symmetric=True", "--nosymmetric or --symmetric"),
        ("seed=1 and mode=knn, dataset=x", "--seed=1 and --mode=knn, --dataset=x"),
    ],
)
def test_one_text_for_both_doors(python, command_line):
    assert with_dashes(python) == command_line
    assert without_dashes(command_line) == python


def test_dashes_are_left_where_no_argument_is():
    for text in (
        "the encoder of another seed",
        "/data/batch_size=3/x",
        "log of image_size.txt",
        "--batch_size=3",
    ):
        assert with_dashes(text) == text


# --- a run ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def simclr(tmp_path_factory):
    return pretrained(tmp_path_factory.mktemp("simclr") / "run")


@pytest.mark.slow
def test_a_run_is_trained_and_held(simclr):
    again = tfssl.load(simclr.path)
    images = np.random.default_rng(0).random((3, 16, 16, 3), np.float32)
    features = again.features(images)
    assert features.shape == (3, again.encoder.output_shape[-1])
    np.testing.assert_array_equal(features, simclr.features(images))
    assert again.config.method == "simclr" and again.image_size == 16
    with pytest.raises(tfssl.CheckpointError, match="without a classifier"):
        again.classify(images)
    with pytest.raises(tfssl.TfsslError, match=r"\(3, 8, 8, 3\)"):
        again.features(np.zeros([3, 8, 8, 3]))


@pytest.mark.slow
def test_every_mode_is_a_function(simclr):
    score = tfssl.knn(run_dir=simclr.path, dataset="shapes:64")
    assert 0 <= score.metrics["top1"] <= 1 and score in simclr.scores
    linear = tfssl.linear(
        run_dir=simclr.path, linear_epochs=1, linear_learning_rates=[0.1, 1]
    )
    assert linear.protocol == "linear"
    tuned = tfssl.finetune(
        run_dir=simclr.path, finetune_epochs=1, finetune_batch_size=16
    )
    assert tuned.path.endswith("finetune") and tuned.class_names
    images = np.random.default_rng(0).random((3, 16, 16, 3), np.float32)
    shares = tuned.classify(images)
    np.testing.assert_allclose(shares.sum(-1), 1, rtol=1e-5)
    path = tfssl.export(run_dir=tuned.path, export_verify=False)
    served = tf.saved_model.load(path).signatures["features"](tf.constant(images))
    np.testing.assert_allclose(served["probabilities"], shares, rtol=1e-4, atol=1e-6)
    page = Path(tfssl.report(run_dir=simclr.path))
    assert "<html" in page.read_text().lower()


@pytest.mark.slow
def test_several_runs_in_one_process(simclr, tmp_path):
    """Another precision, method and encoder; the first run is what it was."""
    images = np.random.default_rng(0).random((2, 16, 16, 3), np.float32)
    before = simclr.features(images)
    other = pretrained(
        tmp_path,
        "byol",
        precision="mixed_bfloat16",
        encoder="resnet18x0.25_cifar",
        encoder_family="moco",
    )
    assert other.features(images).shape[1] == 128 != before.shape[1]
    assert other.encoder.dtype_policy.name == "float32"
    np.testing.assert_array_equal(simclr.features(images), before)
    again = tfssl.load(simclr.path)
    np.testing.assert_array_equal(again.features(images), before)
    ours = logging.getLogger("tfssl").handlers
    assert sum(isinstance(h, console._TqdmHandler) for h in ours) <= 1
    assert keras.backend.backend() == "tensorflow"


@pytest.mark.slow
def test_ctrl_c_is_a_keyboard_interrupt_after_a_checkpoint(tmp_path, monkeypatch):
    handler = signal.getsignal(signal.SIGINT)
    steps = job.make_run_steps

    def interrupted(*args, **more):
        run = steps(*args, **more)

        def call(iterator, count):
            signal.raise_signal(signal.SIGINT)
            return run(iterator, count)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(job, "make_run_steps", interrupted)
        with pytest.raises(KeyboardInterrupt) as caught:
            pretrained(tmp_path, train_steps=4, steps_per_loop=1)
    assert isinstance(caught.value, tfssl.Stopped) and caught.value.step == 1
    assert (tmp_path / "checkpoints" / "step-000000001" / "manifest.json").exists()
    assert signal.getsignal(signal.SIGINT) is handler
    assert pretrained(tmp_path, train_steps=4, steps_per_loop=1).checkpoint.name == (
        "step-000000004"
    )
