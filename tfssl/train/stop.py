"""Ctrl-C and SIGTERM ask the loop to stop at the next boundary."""

from __future__ import annotations

import signal
from types import FrameType


class StopRequest:
    """Context in which SIGINT and SIGTERM set a flag.

    The first signal asks; a second SIGINT raises KeyboardInterrupt, for a user who
    will not wait for the end of the step. Handlers are restored on leaving.
    Signals reach the main thread only; elsewhere this does nothing.
    """

    def __init__(self) -> None:
        self.name: str | None = None
        self._before: dict[int, object] = {}

    @property
    def asked(self) -> bool:
        """Whether a signal came."""
        return self.name is not None

    def __enter__(self) -> StopRequest:
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._before[number] = signal.signal(number, self._handle)
            except ValueError:
                return self
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.name = signal.Signals(number).name
