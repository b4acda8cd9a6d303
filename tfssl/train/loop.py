"""The one loop: k steps in the graph, everything else between calls in Python."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfssl.errors import DivergenceError, message
from tfssl.train.state import RunState
from tfssl.train.step import RunSteps
from tfssl.train.stop import StopRequest

Row = dict[str, float]

# Of these a row holds the last value; of everything else the mean since the last row.
_NEWEST = ("learning_rate", "loss_scale", "skipped_updates")


@dataclasses.dataclass(frozen=True)
class Action:
    """Something done between calls of the training function.

    Attributes:
      every: Runs when the step is a multiple of this, and after the last step;
        0 runs it after the last step only.
      run: Called with the step; what it returns joins that step's log row.
      at_stop: Also run when a signal ends the loop early (checkpoints).
    """

    every: int
    run: Callable[[int], Row | None]
    at_stop: bool = False


def train(
    state: RunState,
    run_steps: RunSteps,
    iterator: Iterator,
    *,
    total_steps: int,
    steps_per_loop: int,
    log_every: int,
    images_per_step: int,
    on_row: Callable[[Row], None],
    on_progress: Callable[[Row], None] = lambda row: None,
    actions: Sequence[Action] = (),
    stop: StopRequest | None = None,
    agree: Callable[[bool], bool] = bool,
) -> bool:
    """Trains from `state.step` to `total_steps`.

    One call of `run_steps` never crosses a boundary of the log or of an action, so
    these happen at exactly their steps, on any machine and after any resume.

    Args:
      state: What trains; `state.step` says where to begin.
      run_steps: See `make_run_steps`.
      iterator: Yields the batches from step `state.step` on.
      total_steps: Number of updates at the end.
      steps_per_loop: Most steps in one call, >= 1.
      log_every: Steps between two log rows, >= 1.
      images_per_step: Images of the global batch, for images/s.
      on_row: Takes a finished log row: means over the steps since the last one.
      on_progress: Takes the newest values after each call, for the progress bar.
      actions: Checkpoints, online evaluation, in this order.
      stop: A signal to stop, looked at between calls.
      agree: Whether to stop, from whether this worker was asked to; several workers
        must do so after the same step. Called once between two calls.

    Returns:
      True if the last step was reached, False if a signal ended the loop.

    Raises:
      DivergenceError: Loss, gradient or weights are NaN or infinite; names the step.
      RuntimeError: The step counter moved by another number than asked for.
    """
    step = int(state.step.numpy())
    meter = _Meter(images_per_step)
    while step < total_steps:
        size = _next_size(step, total_steps, steps_per_loop, log_every, actions)
        began = time.perf_counter()
        table = run_steps(iterator, tf.constant(size, tf.int64))
        values = {name: value.numpy() for name, value in table.items()}
        meter.add(values, size, time.perf_counter() - began)
        _verify_counter(state, step + size)
        _refuse_non_finite(values, step)
        step += size
        on_progress(meter.newest(step))
        last, stopped = step == total_steps, agree(bool(stop and stop.asked))
        extra: Row = {}
        for action in actions:
            due = last or (action.every and step % action.every == 0)
            if due or (stopped and action.at_stop):
                extra |= action.run(step) or {}
        if step % log_every == 0 or last or extra:
            on_row(meter.row(step) | extra)
        if stopped and not last:
            return False
    return True


def _next_size(
    step: int,
    total: int,
    steps_per_loop: int,
    log_every: int,
    actions: Sequence[Action],
) -> int:
    boundaries = [log_every] + [action.every for action in actions if action.every]
    to_next = [every - step % every for every in boundaries]
    return min(total - step, steps_per_loop, *to_next)


def _verify_counter(state: RunState, expected: int) -> None:
    found = int(state.step.numpy())
    if found != expected:
        raise RuntimeError(
            f"the step counter is {found} instead of {expected}: "
            "something else moves it"
        )


_CHECKED = {
    "loss": ("the loss", "augmentation or images without content can do it, too"),
    "gradient_norm": ("the gradient", "or a longer warmup_epochs"),
    "weight_norm": ("the weights", "or more weight_decay"),
}
"""What must be finite, in the order in which a step computes it."""


def _refuse_non_finite(values: dict[str, np.ndarray], first_step: int) -> None:
    """Names the first step that went wrong, and the first of its results that did."""
    checked = [name for name in _CHECKED if name in values]
    good = np.stack([np.isfinite(values[name]) for name in checked], axis=1)
    for row, column in np.argwhere(~good)[:1]:
        what, more = _CHECKED[checked[column]]
        number = values[checked[column]][row]
        raise DivergenceError(
            message(
                f"{what} = {number} at step {first_step + row}",
                "a finite number",
                f"a smaller learning_rate ({more}), or rewind_on_nan=3; the last "
                "good checkpoint is kept",
            )
        )


class _Meter:
    """Means of the scalars since the last log row, and the speed."""

    def __init__(self, images_per_step: int):
        self._images = images_per_step
        self._calls: list[tuple[dict[str, Any], int, float]] = []

    def add(self, values: dict[str, Any], size: int, seconds: float) -> None:
        self._calls.append((values, size, seconds))

    def newest(self, step: int) -> Row:
        return self._summary(step, self._calls[-1:])

    def row(self, step: int) -> Row:
        summary = self._summary(step, self._calls)
        self._calls = []
        return summary

    def _summary(self, step: int, calls: list) -> Row:
        steps = sum(size for _, size, _ in calls)
        seconds = math.fsum(seconds for _, _, seconds in calls)
        row: Row = {"step": step}
        for name in calls[-1][0]:
            parts = np.concatenate([values[name] for values, _, _ in calls])
            if name in _NEWEST:
                row[name] = float(parts[-1])
            elif name == "data_wait":
                row[name] = float(min(1.0, parts.sum() / max(seconds, 1e-9)))
            else:
                row[name] = float(parts.astype(np.float64).mean())
        row["images_per_second"] = steps * self._images / max(seconds, 1e-9)
        return row
