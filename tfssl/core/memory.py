"""The process's memory, where waiting for the C library costs too much of it."""

from __future__ import annotations

import ctypes


def give_back_freed() -> None:
    """Returns what is free to the system, for what other threads will need.

    glibc keeps an arena for each thread, and TensorFlow restores weights in threads of
    its own, which do not find what the main thread has freed. Other C libraries have no
    `malloc_trim`; there nothing happens.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
