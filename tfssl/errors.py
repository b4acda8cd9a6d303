"""The errors that tfssl raises on purpose; each says got, expected, try.

Layer 0: imports nothing of ours. `main` prints them as one line without a traceback.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable


class TfsslError(Exception):
    """Base of every error that tfssl raises on purpose."""


class ConfigError(TfsslError):
    """Flags that are unknown, out of bounds, or contradict each other.

    Attributes:
      problems: One finished sentence per problem, all of them at once.
    """

    def __init__(self, problems: str | list[str]):
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class DataError(TfsslError):
    """A data set that is missing, empty, too small, or without labels."""


class NotPreparedError(DataError):
    """A data set that is known, and not on this machine yet."""


class CheckpointError(TfsslError):
    """A checkpoint that is missing, damaged, or of another configuration."""


class RunDirectoryError(TfsslError):
    """A run directory in use by another process, or holding another run."""


class InUseError(RunDirectoryError):
    """A run directory that another process has."""


class RemoteError(RunDirectoryError, OSError):
    """A file system that TensorFlow knows (`gs://…`) refuses, or is out of reach.

    Attributes:
      reason: What it said of which path, without advice.
    """

    reason = ""


class DivergenceError(TfsslError):
    """Training produced NaN or infinity; the last good checkpoint is kept."""


class WorkerError(TfsslError):
    """Another worker of the run is gone; this one cannot go on alone."""


class Stopped(KeyboardInterrupt):
    """A signal ended a training after a checkpoint; the same call goes on.

    Attributes:
      signal: Its name.
      step: Updates that the checkpoint holds.
      how: What continues it.
    """

    def __init__(self, signal: str, step: int):
        super().__init__(signal, step)
        self.signal, self.step = signal, step
        self.how = " the same command"

    def __str__(self) -> str:
        """What a user sees."""
        return (
            f"stopped by {self.signal} after step {self.step}, saved; continue with"
            f"{self.how}"
        )


def message(got: object, expected: object, try_: str) -> str:
    """Formats the one shape that all our errors have.

    Args:
      got: What was found, named as the user named it (a flag, a path).
      expected: What would have been right.
      try_: What to do now.

    Returns:
      `"got …; expected …; try …"`.
    """
    return f"got {got}; expected {expected}; try {try_}"


def unknown(kind: str, name: object, known: object) -> str:
    """Formats the error for a name that is not in one of our tables.

    Args:
      kind: What the name stands for, for example `"--method"`.
      name: The name that was not found.
      known: The known names, any iterable of strings.

    Returns:
      A got/expected/try message; the closest known name is suggested.
    """
    import difflib

    names = sorted(str(n) for n in known)  # type: ignore[attr-defined]
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f"{kind}={close[0]}" if close else f"one of the {len(names)} known names"
    return message(f"{kind}={name}", "one of " + ", ".join(names), hint)


def a_path_that_exists() -> str:
    """Returns what to try in place of a path that is not there."""
    try:
        return f"a path that exists, seen from {os.getcwd()}"
    except OSError:
        return "another working folder: this one was removed"


def problems_of(check: Callable[..., object], *arguments: object) -> list[str]:
    """Returns the problem that a check raises, where several are told together."""
    try:
        check(*arguments)
    except TfsslError as error:
        return [str(error)]
    return []


def printable(name: object) -> str:
    r"""Returns a name as text that every page, file and stream can take.

    Paths on Linux are bytes. Python keeps those that are not UTF-8 as lone surrogates,
    at which every writer of UTF-8 fails; a line break or an escape sequence in a name
    would break the line that it stands in.

    Args:
      name: A path, or the name of a class.

    Returns:
      The name with bytes that are not UTF-8 as `\xff`, and control characters and
      line separators as `\n`, `\x1b`, `\u2028`. All else stays as it is.
    """
    return "".join(
        _escaped(c) if unicodedata.category(c) in _UNPRINTABLE else c for c in str(name)
    )


_UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}


def _escaped(character: str) -> str:
    # "surrogateescape" (PEP 383) put byte 0xff into "\udcff".
    byte = ord(character) - 0xDC00
    if 0x80 <= byte <= 0xFF:
        return f"\\x{byte:02x}"
    return character.encode("unicode_escape").decode()
