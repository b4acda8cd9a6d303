"""What the user sees while a run goes on: lines, progress bars, a table."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any

from tqdm.auto import tqdm


class _Stream:
    """Standard output or error as it is now; what it cannot take ends no run.

    Its disk may be full, its reader gone, its encoding ASCII.

    Args:
      name: `"stdout"` or `"stderr"`.
    """

    def __init__(self, name: str):
        self._name = name

    def write(self, text: str) -> None:
        with _FORGIVEN:
            stream = getattr(sys, self._name)
            encoding = stream.encoding or "utf-8"
            stream.write(text.encode(encoding, "backslashreplace").decode(encoding))

    def flush(self) -> None:
        with _FORGIVEN:
            getattr(sys, self._name).flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(getattr(sys, self._name), name)


# ValueError: the stream is closed. AttributeError: it is None, as without a console.
_FORGIVEN = contextlib.suppress(OSError, ValueError, AttributeError)
_OUT, _BARS = _Stream("stdout"), _Stream("stderr")


def say(text: str) -> None:
    """Prints one line, without breaking a progress bar."""
    _line(text, _OUT)


def _line(text: str, stream: _Stream) -> None:
    with tqdm.external_write_mode(file=_BARS):
        stream.write(f"{text}\n")
        stream.flush()


class _TqdmHandler(logging.Handler):
    def __init__(self, wording: Callable[[str], str]):
        super().__init__(logging.WARNING)
        self._wording = wording

    def emit(self, record: logging.LogRecord) -> None:
        text = self._wording(record.getMessage())
        _line(f"{record.levelname.lower()}: {text}", _BARS)


def route_warnings(wording: Callable[[str], str] = str) -> None:
    """Sends log messages of the package through the progress bar.

    Args:
      wording: How they name arguments.
    """
    ours = logging.getLogger("tfssl")
    for handler in list(ours.handlers):
        if isinstance(handler, _TqdmHandler):
            ours.removeHandler(handler)
    ours.addHandler(_TqdmHandler(wording))


class Counter:
    """A progress bar that counts images.

    Args:
      total: Images at the end.
      title: In front of the bar.
      shown: False for no bar (`progress=False`).
    """

    def __init__(self, total: int, title: str, *, shown: bool, **more: Any):
        more = {"unit": "image", **more}
        self._bar = tqdm(file=_BARS, total=total, desc=title, disable=not shown, **more)

    def show(self, done: int) -> None:
        """Moves the bar."""
        self._bar.update(done - self._bar.n)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()


class Progress(Counter):
    """Progress bar: step, loss, images/s, time left, share of time waiting for data.

    Args:
      total: Steps of the run.
      done: Steps made before.
      title: In front of the bar.
      shown: False for no bar (`progress=False`).
      loss: The row's field to show as the loss.
    """

    def __init__(
        self, total: int, done: int, title: str, *, shown: bool, loss: str = "loss"
    ):
        self._loss = loss
        super().__init__(
            total,
            title,
            shown=shown,
            initial=done,
            unit="step",
            dynamic_ncols=True,
            mininterval=0.5,
            bar_format="{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} "
            "[{elapsed}<{remaining}{postfix}]",
        )

    def row(self, row: dict[str, float]) -> None:
        """Leaves the rows to the log."""

    def progress(self, row: dict[str, float]) -> None:
        """Moves the bar to `row["step"]`."""
        self._bar.set_postfix_str(
            f"loss {row[self._loss]:.3f}, {row['images_per_second']:.0f} images/s, "
            f"waiting for data {100 * row['data_wait']:.0f} %",
            refresh=False,
        )
        self.show(int(row["step"]))


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """Returns the rows in columns, a line below the first; the first column left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *rest in rows:
        cells = [first.ljust(widths[0]), *map(str.rjust, rest, widths[1:])]
        lines.append("  " + "  ".join(cells).rstrip())
    lines.insert(1, "  " + "-" * (sum(widths) + 2 * len(widths) - 2))
    return "\n".join(lines)
