"""Prepares the process for TensorFlow: environment variables, start-up messages."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator

# What TensorFlow's C++ writes to file descriptor 2 at every start without a GPU. It is
# written before any logging is set up, so that no option of TensorFlow silences it.
_CHATTER = re.compile(
    rb"All log messages before absl::InitializeLog\(\)"
    rb"|^I0000 "
    rb"|Could not find cuda drivers"
    rb"|failed call to cuInit"
    rb"|Unable to register cu(FFT|DNN|BLAS) factory"
    rb"|computation_placer already registered"
)


# glibc's malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEEP_BELOW = 2**30  # bytes


def prepare_environment() -> None:
    """Sets what TensorFlow and Keras read once, when they are imported."""
    _keep_freed_memory()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # By itself TensorFlow takes oneDNN on CPUs with AVX512-VNNI only; with AVX2 alone
    # it halves the time of a step too (docs/measurements.md).
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    # A notebook's kernel hands its own backend down to `!python`, whose environment may
    # lack that module; then importing matplotlib, which Keras does, fails.
    backend = os.environ.get("MPLBACKEND", "")
    module = backend.removeprefix("module://").partition(".")[0]
    if backend.startswith("module://") and importlib.util.find_spec(module) is None:
        os.environ["MPLBACKEND"] = "agg"


def drop_false_alarms() -> None:
    """Drops TensorFlow's advice on functions that it sees traced again and again.

    It counts by the function's line in the source. Each training of a curve or a table
    traces its own functions, once; from the fifth on it was warned of.
    """
    logging.getLogger("tensorflow").addFilter(_is_no_false_alarm)


def _is_no_false_alarm(record: logging.LogRecord) -> bool:
    return "triggered tf.function retracing" not in record.getMessage()


@contextlib.contextmanager
def without_chatter(hold: bool = True) -> Iterator[None]:
    """Holds back native messages to stderr, and drops TensorFlow's start-up chatter.

    Everything else that was written appears when the context ends, also when it ends
    by an error. `TF_CPP_MIN_LOG_LEVEL=0` in the environment keeps all of it.

    Args:
      hold: False leaves stderr alone: where loading TensorFlow may abort the process
        (an unfit libtpu does), held messages would be lost with it.
    """
    if not hold or os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0":
        yield
        return
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(terminal, 2)
            os.close(terminal)
            held.seek(0)
            kept = [line for line in held if not _CHATTER.search(line)]
            os.write(2, b"".join(kept))


def _keep_freed_memory() -> None:
    """Lets glibc keep the memory of a step's tensors for the next step.

    By default it returns large blocks to the system when they are freed, and the next
    step faults every page in again: 23,000 of them a step for a ResNet-18 of a
    quarter's width on 512 images of 32 pixels, 1,700 with this.
    Other C libraries have no `mallopt`; there nothing happens. Whoever set glibc's own
    variables (`MALLOC_TRIM_THRESHOLD_`) is left alone.
    """
    if any(name.startswith("MALLOC_") for name in os.environ):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _KEEP_BELOW)
        mallopt(_M_TRIM_THRESHOLD, _KEEP_BELOW)
