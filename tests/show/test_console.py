"""What is said to the user never ends a run."""

import contextlib
import io
import logging
import subprocess
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
            bar.progress(ROW)
            logger.warning("a warning")
        with console.Counter(2, "title", shown=True) as counter:
            counter.show(1)


def test_a_line_clears_the_bar_first(logger):
    out = io.StringIO()
    with (
        contextlib.redirect_stderr(out),
        console.Progress(2, 0, "title", shown=True) as bar,
    ):
        bar.progress(ROW)
        logger.warning("told")
    before = out.getvalue().split("warning: told")[0]
    assert before.rstrip(" ").endswith("\r")


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_an_ascii_stream_shows_what_it_can(name, logger, monkeypatch):
    raw = io.BytesIO()
    ascii_only = io.TextIOWrapper(raw, encoding="ascii", write_through=True)
    monkeypatch.setattr(sys, name, ascii_only)
    text = "byol · Größe 5 · caf\udce9"
    console.say(text) if name == "stdout" else logger.warning(text)
    assert rb"byol \xb7 Gr\xf6\xdfe 5 \xb7 caf\udce9" in raw.getvalue()
    if name == "stderr":
        with console.Counter(2, "Größe", shown=True) as counter:
            counter.show(1)


def test_a_lone_surrogate_goes_through_utf8(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, "utf-8"))
    console.say("Größe caf\udce9")
    assert raw.getvalue() == "Größe caf\\udce9\n".encode()


@pytest.mark.parametrize("stream", ["closed", None])
def test_closed_or_missing_streams_end_nothing(stream, logger, monkeypatch):
    if stream:
        stream = io.TextIOWrapper(io.BytesIO())
        stream.close()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    console.say("a line")
    logger.warning("a warning")
    with console.Progress(2, 0, "title", shown=True) as bar:
        bar.progress(ROW)
        console.say("a line")


def test_a_line_on_stdout_is_shown_where_stderr_is_full(monkeypatch):
    out = io.StringIO()
    with (
        full_disk(),
        contextlib.redirect_stdout(out),
        console.Progress(2, 0, "title", shown=True) as bar,
    ):
        bar.progress(ROW)
        console.say("a line")
    assert out.getvalue() == "a line\n"


def test_a_reader_that_is_gone_leaves_exit_code_0():
    code = "from tfssl.show import console\nfor _ in range(99999): console.say('x' * 9)"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE)  # fmt: skip
    child.stdout.close()
    assert (child.stderr.read(), child.wait(60)) == (b"", 0)
    child.stderr.close()
