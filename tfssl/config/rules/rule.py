"""What a rule is: problems of a resolved `Config`, each a finished sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tfssl.config import Config
from tfssl.errors import message

Rule = Callable[[Config], Iterator[str]]


def not_yet(got: str, available: tuple[str, ...]) -> str:
    """The problem of a value that is reserved for a later version."""
    return message(
        f"{got}, which is not available in this version",
        "one of " + ", ".join(available),
        "one of these",
    )
