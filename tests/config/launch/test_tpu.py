"""What can be known of --strategy=tpu without a TPU."""

import dataclasses
import os
import subprocess
import sys

import pytest

from tests.tiny import tiny
from tfssl.config import launch
from tfssl.config.launch import tpu

GOOD = {"tensorflow-tpu": "2.20.0", "libtpu": "0.0.19.1"}


def test_what_fits_has_no_problems():
    assert tpu.problems(GOOD) == []
    assert tpu.problems(GOOD | {"libtpu": "0.0.14"}) == []
    assert tpu.problems(GOOD | {"libtpu": "0.0.30"}) == []


@pytest.mark.parametrize(
    ("versions", "got", "cure"),
    [
        ({"tensorflow": "2.21.0"}, "for CPU and GPU", "requirements-tpu.txt"),
        ({}, "(none)", "requirements-tpu.txt"),
        ({"tensorflow-tpu": "2.20.0"}, "without the package libtpu", "requirements"),
        (GOOD | {"libtpu": "0.0.52"}, "aborts", "libtpu==0.0.19.1"),
        (GOOD | {"libtpu": "0.0.40"}, "aborts", "libtpu==0.0.19.1"),
        (GOOD | {"libtpu": "0.0.9"}, "aborts", "libtpu==0.0.19.1"),
        (
            GOOD | {"tensorflow": "2.20.0"},
            "installed over tensorflow-tpu",
            "--no-deps --force-reinstall tensorflow-tpu==2.20.0",
        ),
    ],
)
def test_every_trap_is_named_with_its_cure(versions, got, cure):
    text = "\n".join(tpu.problems(versions))
    assert got in text and cure in text


def test_requirements_are_what_the_check_accepts():
    lines = (launch_root() / "requirements-tpu.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if "==" in line)
    assert tpu.problems(pins) == []
    assert "tensorflow" not in {line.split(">")[0].split("=")[0] for line in lines}


def launch_root():
    from pathlib import Path

    return Path(__file__).parents[3]


def test_environment():
    environ = {"TF_XLA_FLAGS": "--tf_xla_auto_jit=0 --tf_mlir_enable_mlir_bridge=false"}
    tpu.prepare(environ, "/some/libtpu.so")
    assert environ["PJRT_DEVICE"] == "TPU"
    assert environ["NEXT_PLUGGABLE_DEVICE_USE_C_API"] == "true"
    assert environ["TF_PLUGGABLE_DEVICE_LIBRARY_PATH"] == "/some/libtpu.so"
    flags = environ["TF_XLA_FLAGS"].split()
    # What the user set stays; what is missing is added.
    assert flags[:2] == ["--tf_xla_auto_jit=0", "--tf_mlir_enable_mlir_bridge=false"]
    assert "--tf_mlir_enable_merge_control_flow_pass=true" in flags
    assert sum("mlir_bridge" in flag for flag in flags) == 1


def test_only_the_tpu_gets_it():
    environ: dict[str, str] = {}
    launch.prepare(tiny("byol"), environ)
    assert "PJRT_DEVICE" not in environ
    launch.prepare(dataclasses.replace(tiny("byol"), strategy="tpu"), environ)
    assert "PJRT_DEVICE" in environ


@pytest.mark.skipif("tensorflow-tpu" in tpu.installed(), reason="TensorFlow for TPU")
def test_the_command_line_answers_before_tensorflow_loads(tmp_path):
    command = [sys.executable, "-X", "importtime", "-m", "tfssl.main"]
    command += ["--strategy=tpu", f"--run_dir={tmp_path}/run", "--dataset=shapes"]
    environment = {k: v for k, v in os.environ.items() if k != "TF_CONFIG"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 2
    assert "requirements-tpu.txt" in done.stderr
    assert "| tensorflow" not in done.stderr
    assert not (tmp_path / "run").exists()
