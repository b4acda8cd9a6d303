"""What the user sees while a run goes on: progress bar, plain lines, a table."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Any, TextIO

from tqdm import tqdm


class _Spoken:
    """A stream whose failures end no run: its file's disk is full, its pipe closed.

    It equals what it wraps, by which tqdm finds the bars to clear before a line.
    """

    def __init__(self, stream: TextIO):
        self._wrapped = stream

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self._wrapped.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._wrapped.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapped, name)

    def __eq__(self, other: object) -> bool:
        return self._wrapped == getattr(other, "_wrapped", other)

    def __hash__(self) -> int:
        return hash(self._wrapped)


def say(text: str) -> None:
    """Prints one line, without breaking a progress bar."""
    out = _Spoken(sys.stdout)
    tqdm.write(text, file=out)
    out.flush()


class _TqdmHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        line = f"{record.levelname.lower()}: {record.getMessage()}"
        tqdm.write(line, file=_Spoken(sys.stderr))


def route_warnings() -> None:
    """Sends log messages of the package through the progress bar."""
    ours = logging.getLogger("tfssl")
    if not any(isinstance(handler, _TqdmHandler) for handler in ours.handlers):
        ours.addHandler(_TqdmHandler(logging.WARNING))


class Progress:
    """Progress bar: step, loss, images/s, time left, share of time waiting for data.

    Args:
      total: Steps of the run.
      done: Steps made before.
      title: In front of the bar.
      shown: False for no bar (`--noprogress`).
    """

    def __init__(self, total: int, done: int, title: str, *, shown: bool):
        self._bar = tqdm(
            file=_Spoken(sys.stderr),
            total=total,
            initial=done,
            desc=title,
            unit="step",
            disable=not shown,
            dynamic_ncols=True,
            mininterval=0.5,
            bar_format="{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} "
            "[{elapsed}<{remaining}{postfix}]",
        )

    def show(self, row: dict[str, float]) -> None:
        """Moves the bar to `row["step"]`."""
        self._bar.set_postfix_str(
            f"loss {row['loss']:.3f}, {row['images_per_second']:.0f} images/s, "
            f"waiting for data {100 * row['data_wait']:.0f} %",
            refresh=False,
        )
        self._bar.update(int(row["step"]) - self._bar.n)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()


class Counter:
    """A progress bar that counts images.

    Args:
      total: Images at the end.
      title: In front of the bar.
      shown: False for no bar.
    """

    def __init__(self, total: int, title: str, *, shown: bool):
        self._bar = tqdm(
            file=_Spoken(sys.stderr),
            total=total,
            desc=title,
            unit="image",
            disable=not shown,
        )

    def show(self, done: int) -> None:
        """Moves the bar."""
        self._bar.update(done - self._bar.n)

    def __enter__(self) -> Counter:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """Returns the rows in columns, a line below the first; the first column left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *rest in rows:
        cells = [first.ljust(widths[0]), *map(str.rjust, rest, widths[1:])]
        lines.append("  " + "  ".join(cells).rstrip())
    lines.insert(1, "  " + "-" * (sum(widths) + 2 * len(widths) - 2))
    return "\n".join(lines)
