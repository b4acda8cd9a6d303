"""TensorFlow's start-up chatter is dropped; nothing else is."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

from tfssl.config import startup

CHATTER = (
    "WARNING: All log messages before absl::InitializeLog() is called are written to\n"
    "I0000 00:00:17 1 cudart_stub.cc:31] Could not find cuda drivers on your machine\n"
    "E0000 00:00:17 1 cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA err\n"
)


def test_chatter_is_dropped_and_the_rest_appears(capfd, monkeypatch):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "2")
    with startup.without_chatter():
        os.write(2, CHATTER.encode() + b"E0000 out of memory\n")
    assert capfd.readouterr().err == "E0000 out of memory\n"
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


def test_an_error_inside_loses_no_message(capfd, monkeypatch):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "2")
    with pytest.raises(ImportError), startup.without_chatter():
        os.write(2, b"libcudart.so: cannot open\n")
        raise ImportError("tensorflow")
    assert capfd.readouterr().err == "libcudart.so: cannot open\n"


def test_level_0_keeps_everything(capfd, monkeypatch):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    with startup.without_chatter():
        os.write(2, CHATTER.encode())
    assert capfd.readouterr().err == CHATTER


TRAINED_AGAIN_AND_AGAIN = """
from tfssl.config import startup
{drop}
import tensorflow as tf
for _ in range(8):
    tf.function(lambda x: x + 1, autograph=False)(tf.constant(1))
tf.get_logger().warning("another one")
"""


@pytest.mark.parametrize("drop", ["", "startup.drop_false_alarms()"])
def test_only_the_advice_on_retracing_is_dropped(drop):
    command = [sys.executable, "-c", TRAINED_AGAIN_AND_AGAIN.format(drop=drop)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    assert ("retracing" in said) != bool(drop)
    assert "another one" in said


FREED_AND_TAKEN_AGAIN = """
import ctypes, resource
from tfssl.config import startup
{prepare}
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
def step():
    block = libc.malloc(200 << 20)
    ctypes.memset(block, 1, 200 << 20)
    libc.free(block)
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="no glibc")
def test_freed_memory_is_kept_for_the_next_step():
    def faults(prepare: str) -> int:
        code = FREED_AND_TAKEN_AGAIN.format(prepare=prepare)
        return int(subprocess.check_output([sys.executable, "-c", code]))

    assert faults("startup.prepare_environment()") < 100 < faults("")
