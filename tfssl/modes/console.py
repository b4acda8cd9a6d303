"""What the user sees while a run goes on: progress bar, plain lines, a table."""

from __future__ import annotations

import logging
import sys
from types import TracebackType

from tqdm import tqdm


def say(text: str) -> None:
    """Prints one line, without breaking a progress bar."""
    tqdm.write(text, file=sys.stdout)
    sys.stdout.flush()


class _TqdmHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(f"{record.levelname.lower()}: {record.getMessage()}", sys.stderr)


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
        self._bar = tqdm(total=total, desc=title, unit="image", disable=not shown)

    def show(self, done: int) -> None:
        """Moves the bar."""
        self._bar.update(done - self._bar.n)

    def __enter__(self) -> Counter:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()


def table(rows: list[tuple[str, str, str]]) -> str:
    """Three columns, the first one left-aligned."""
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    lines = [
        f"  {a:<{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}" for a, b, c in rows
    ]
    lines.insert(1, "  " + "-" * (sum(widths) + 4))
    return "\n".join(lines)
