"""What a run does when something goes wrong: NaN, a signal to one of its workers."""

from __future__ import annotations

import logging
from collections.abc import Callable

import tensorflow as tf

from tfssl.core import collectives, runtime
from tfssl.errors import DivergenceError
from tfssl.train import RunState

RATE_FACTOR = 0.5
"""What a rewind multiplies the learning rate by."""

_LOGGER = logging.getLogger(__name__)


def agreement(strategy: tf.distribute.Strategy) -> Callable[[bool], bool]:
    """A signal reaches one worker; all must stop after the same step."""
    if runtime.num_workers(strategy) == 1:
        return bool
    return lambda asked: collectives.any_worker(strategy, asked)


def rewind(
    error: DivergenceError,
    state: RunState,
    allowed: int,
    restore: Callable[[], int],
) -> int:
    """Goes back to the last checkpoint with half the learning rate.

    The factor is a variable of the state, so that the checkpoints from now on hold it
    and a resumed run has it. A run that is killed before the first of them meets the
    same NaN at the same step and rewinds again, to the same numbers.

    Args:
      error: What went wrong.
      state: Of the run; its `rate_factor` is halved.
      allowed: Rewinds of a run; the factor says how many there were.
      restore: Assigns the last whole checkpoint and returns its step.

    Returns:
      The step to go on from.

    Raises:
      DivergenceError: The given one, when no rewind is left.
    """
    factor = float(state.rate_factor.numpy()) * RATE_FACTOR
    if factor < RATE_FACTOR**allowed:
        raise error
    step = restore()
    state.rate_factor.assign(factor)
    _LOGGER.warning("%s", error)
    _LOGGER.warning("rewound to step %d; learning rate times %g", step, factor)
    return step
