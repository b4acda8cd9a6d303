"""Forward passes in training mode that leave BatchNorm's running statistics alone."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator

_STILL: contextvars.ContextVar[bool] = contextvars.ContextVar("still", default=False)


@contextlib.contextmanager
def still_statistics() -> Iterator[None]:
    """Within it, training normalises by the batch and moves no running statistics.

    For a forward pass that is repeated later, so that every image counts once. Decided
    when the graph is traced, per thread (replicas are threads).
    """
    token = _STILL.set(True)
    try:
        yield
    finally:
        _STILL.reset(token)


def are_still() -> bool:
    """Whether a `still_statistics` is in force."""
    return _STILL.get()
