"""What is said to the user never ends a run."""

import contextlib
import io
import logging
import sys

import pytest

from tfssl.show import console

ROW = {"step": 1, "loss": 2.0, "images_per_second": 3.0, "data_wait": 0.0}


@contextlib.contextmanager
def full_disk():
    """Both streams on a device where every write ends with "no space left".

    Not a fixture: pytest puts its own streams back between a fixture and its test.
    """
    with (
        io.FileIO("/dev/full", "w") as raw,
        contextlib.redirect_stdout(_writer(raw)),
        contextlib.redirect_stderr(_writer(raw)),
    ):
        with pytest.raises(OSError, match="No space"):
            sys.stderr.write("x")
        yield


def _writer(raw):
    return io.TextIOWrapper(raw, encoding="utf-8", write_through=True)


@pytest.fixture
def logger():
    ours = logging.getLogger("tfssl")
    before = list(ours.handlers)
    ours.handlers = []
    console.route_warnings()
    yield logging.getLogger("tfssl.train")
    ours.handlers = before


def test_a_full_disk_under_the_streams_ends_nothing(logger):
    with full_disk():
        console.say("a line")
        logger.warning("a warning")
        with console.Progress(2, 0, "title", shown=True) as bar:
            bar.show(ROW)
            logger.warning("a warning")
        with console.Counter(2, "title", shown=True) as counter:
            counter.show(1)


def test_a_line_clears_the_bar_first(logger):
    out = io.StringIO()
    with (
        contextlib.redirect_stderr(out),
        console.Progress(2, 0, "title", shown=True) as bar,
    ):
        bar.show(ROW)
        logger.warning("told")
    before = out.getvalue().split("warning: told")[0]
    assert before.rstrip(" ").endswith("\r")
