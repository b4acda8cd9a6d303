"""What must be done before and while TensorFlow loads: its environment, its chatter."""

from __future__ import annotations

import contextlib
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


def prepare_environment() -> None:
    """Sets what TensorFlow and Keras read once, when they are imported."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ["KERAS_BACKEND"] = "tensorflow"


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
