"""Says in sentences what the curves of a training show: its speed, its first epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Log = Sequence[Mapping[str, Any]]
START, FEWEST = 0.2, 5
"""Share of the steps that is the start, and the rows it needs to be judged."""
SPIKE, NOISE, RISE = 4.0, 5.0, 1.1
"""Factors from which on a start counts as unstable, see `start_sentence`."""


def is_number(value: Any) -> bool:
    """Whether a field of the log holds a number; True and False are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def median(log: Log, name: str) -> float | None:
    """The median of a field, without the row of tracing and compiling."""
    values = [row[name] for row in log if is_number(row.get(name))]
    values = [v for v in (values[1:] or values) if np.isfinite(v)]
    return float(np.median(values)) if values else None


def speed_sentence(log: Log) -> str:
    """Images a second, and whether the data are what the accelerator waits for."""
    rate, wait = median(log, "images_per_second"), median(log, "data_wait")
    if rate is None:
        return ""
    sentence = f"Median {rate:,.0f} images per second"
    if wait is None:
        return sentence + "."
    sentence += f", {100 * wait:.1f} % of the time waiting for data."
    if wait > 0.2:
        sentence += (
            " The accelerator starves: more CPU cores, smaller images on disk or a "
            "faster disk would speed this run up."
        )
    return sentence


def start_sentence(log: Log) -> str:
    """What was unstable in the first fifth of a training; "" if nothing was.

    Three signs: the gradient norm's peak is `SPIKE` times its median there; the loss
    jumps from row to row `NOISE` times as much as in the second half (the deviation of
    its second differences, which a steady fall does not have); it climbs above its
    first value by the factor `RISE`, or is not finite. Where the start has fewer than
    `FEWEST` rows nothing is said.
    """
    rows = [
        (row["step"], row["loss"], row["gradient_norm"])
        for row in log
        if all(is_number(row.get(name)) for name in ("loss", "gradient_norm"))
    ]
    table = np.array(rows, np.float64).reshape(-1, 3)
    last = table[-1, 0] if len(table) else 0
    start, rest = (table[table[:, 0] <= START * last], table[table[:, 0] >= last / 2])
    finite = np.isfinite(start).all(1)
    signs = [] if finite.all() else ["the loss or its gradient was not finite"]
    start, rest = start[finite], rest[np.isfinite(rest).all(1)]
    if len(start) >= FEWEST:
        spike = start[:, 2].max() / max(np.median(start[:, 2]), 1e-12)
        noise = _jumps(start[:, 1]) / max(_jumps(rest[:, 1]), 1e-12)
        rise = start[:, 1].max() / max(start[0, 1], 1e-12)
        if spike > SPIKE:
            signs.append(f"the gradient norm reached {spike:.1f} times its median")
        if noise > NOISE:
            signs.append(f"the loss jumped {noise:.1f} times as much as later")
        if rise > RISE:
            signs.append(f"the loss rose to {rise:.2f} times its first value")
    if not signs:
        return ""
    return (
        f"An unstable start: in the first {START:.0%} of the steps "
        f"{', and '.join(signs)}. Where such a training ends depends on the seed and "
        "on how this machine rounds: trust no single run of it, and try more "
        "--warmup_epochs or a lower --learning_rate."
    )


def _jumps(values: np.ndarray) -> float:
    """The deviation of what a straight line through each three values leaves."""
    return float(np.std(np.diff(values, 2)) / np.sqrt(6))
