"""What a task gives to the next one, and to whoever called it from Python."""

from __future__ import annotations

from typing import Any, NamedTuple


class Outcome(NamedTuple):
    """What is left when a task is done.

    Attributes:
      run: The run directory that the task trained or converted, which is what the next
        one is about; None: still the one that this one was about.
      value: What the function of this name in `tfssl` returns, scores or a path; None:
        the trained run.
    """

    run: str | None = None
    value: Any = None
