"""Learning rates and EMA decays as pure functions of the step.

Each takes the number of updates made so far, first update = 0, as a Python number, a
NumPy array (answers float64) or a tensor (answers float32), and can be called inside
`tf.function`. A half cosine is computed as the square of a sine of what REMAINS, which
keeps its relative precision at the end, where `1 + cos` cancels in float32.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfssl.config import tables
from tfssl.errors import unknown

Step = float | np.ndarray | tf.Tensor
Schedule = Callable[[Any], Any]


def constant(step: Step, *, peak: float, warmup: int = 0) -> np.ndarray | tf.Tensor:
    """`peak`, after `warmup` steps of linear rise from 0."""
    ops, s = _split(step)
    return _finish(peak * _ramp(ops, s, warmup))


def warmup_cosine(
    step: Step, *, peak: float, warmup: int, total: int
) -> np.ndarray | tf.Tensor:
    """Linear rise, then half a cosine to 0 (SimCLR and BYOL).

    `step / warmup * peak` while step < warmup, so the first update has rate 0; then
    `peak/2 (1 + cos(pi (step - warmup) / (total - warmup)))`; 0 from `total` on.

    Args:
      step: Updates made so far.
      peak: Rate at `step == warmup`.
      warmup: Steps, >= 0; see `warmup_steps`.
      total: Steps, > warmup; see `total_steps`.
    """
    ops, s = _split(step)
    fall = _half_cosine(ops, (total - s) / max(total - warmup, 1))
    return _finish(peak * ops.where(s < warmup, _ramp(ops, s, warmup), fall))


def cosine(step: Step, *, peak: float, total: int) -> np.ndarray | tf.Tensor:
    """Half a cosine from `peak` at step 0 to 0 at `total`; no warm-up."""
    return warmup_cosine(step, peak=peak, warmup=0, total=total)


def epoch_cosine(
    step: Step, *, peak: float, epochs: int, steps_per_epoch: int, first_epoch: int = 0
) -> np.ndarray | tf.Tensor:
    """MoCo v2's: half a cosine that moves once per epoch.

    `peak/2 (1 + cos(pi epoch / epochs))`, epochs from 0, so the last one still has a
    rate (facebookresearch/moco `main_moco.py`). Its CIFAR demo counts from 1:
    `first_epoch=1`, the last epoch has rate 0.
    """
    ops, epoch = _split(_epoch(step, steps_per_epoch))
    left = (epochs - first_epoch - epoch) / epochs
    return _finish(peak * _half_cosine(ops, left))


def step_decay(
    step: Step,
    *,
    peak: float,
    boundaries: Sequence[int],
    factor: float = 0.1,
    warmup: int = 0,
) -> np.ndarray | tf.Tensor:
    """`peak` times `factor` for every boundary reached (MoCo v1: epochs 120, 160)."""
    ops, s = _split(step)
    rate = peak * _ramp(ops, s, warmup)
    for boundary in boundaries:
        rate = rate * ops.where(s >= boundary, factor, 1.0)
    return _finish(rate)


def exponential(
    step: Step,
    *,
    peak: float,
    decay_steps: int = 62_500,
    rate: float = 0.9,
    staircase: bool = False,
    warmup: int = 0,
) -> np.ndarray | tf.Tensor:
    """`peak * rate ** (step / decay_steps)`; in stairs: of the whole quotient."""
    ops, s = _split(step)
    power = _split(_epoch(step, decay_steps))[1] if staircase else s / decay_steps
    # exp, not pow: one op that NumPy and TensorFlow call by the same name.
    return _finish(peak * ops.exp(math.log(rate) * power) * _ramp(ops, s, warmup))


def poly(
    step: Step, *, peak: float, total: int, power: float = 0.9, warmup: int = 0
) -> np.ndarray | tf.Tensor:
    """`peak * (share of the steps after the warm-up that are left) ** power`.

    From `total` on 0 (DeepLab, 1606.00915, section 4.1, which has no warm-up).
    """
    ops, s = _split(step)
    left = (total - s) / max(total - warmup, 1)
    left = ops.minimum(ops.maximum(left, 0.0), 1.0)
    return _finish(peak * left**power * _ramp(ops, s, warmup))


def byol_tau(step: Step, *, base: float, total: int) -> np.ndarray | tf.Tensor:
    """BYOL's target decay, `1 - (1 - base)/2 (1 + cos(pi step / total))`.

    Rises from `base` to 1 and stays there (2006.07733, section 3.2).
    """
    ops, s = _split(step)
    return _finish(1.0 - (1.0 - base) * _half_cosine(ops, (total - s) / total))


SCHEDULES: dict[str, Callable] = {
    name: globals()[path.partition(":")[2]] for name, path in tables.SCHEDULES.items()
}
"""`--lr_schedule` to function of the step."""


def build_schedule(
    name: str,
    *,
    peak: float,
    total: int,
    warmup: int = 0,
    steps_per_epoch: int | None = None,
    boundaries: Sequence[int] = (),
    decay: float | None = None,
    decay_steps: int = 62_500,
    staircase: bool = False,
) -> Schedule:
    """A schedule by name, with the usual shape over `total` steps.

    Args:
      name: `constant`; `cosine` and `poly` to 0; `step`; `exponential`; `epoch_cosine`,
        MoCo v2's,
        which takes no warm-up.
      peak: Rate after the warm-up.
      total: Steps of the run.
      warmup: Steps of linear rise from 0.
      steps_per_epoch: For `epoch_cosine` only.
      boundaries: Of `step`: where the rate falls; empty: at 60 % and at 80 % (MoCo v1's
        epochs 120 and 160 of 200).
      decay: Factor of a fall; None: .1 for `step`, .9 for `exponential`.
      decay_steps: Of `exponential`: steps in which the rate falls by `decay`.
      staircase: Of `exponential`: fall at their end at once.

    Returns:
      Function of the step.

    Raises:
      ValueError: Unknown name, or `epoch_cosine` with warm-up or without
        `steps_per_epoch`.
    """
    if name not in SCHEDULES:
        raise ValueError(unknown("lr_schedule", name, SCHEDULES))
    own: dict[str, Any] = {"warmup": warmup}
    if name in ("cosine", "poly"):
        own["total"] = total
    elif name == "step":
        own["boundaries"] = boundaries or [round(0.6 * total), round(0.8 * total)]
        own["factor"] = 0.1 if decay is None else decay
    elif name == "exponential":
        own |= {"decay_steps": decay_steps, "staircase": staircase}
        own["rate"] = 0.9 if decay is None else decay
    elif name == "epoch_cosine":
        if warmup or not steps_per_epoch:
            raise ValueError(
                f"got epoch_cosine with warmup={warmup} and "
                f"steps_per_epoch={steps_per_epoch}; expected no warm-up and the "
                "steps of an epoch; try cosine"
            )
        # A run may end inside of an epoch, which has a rate as well.
        epochs = -(-total // steps_per_epoch)
        own = {"epochs": epochs, "steps_per_epoch": steps_per_epoch}
    return functools.partial(SCHEDULES[name], peak=peak, **own)


def scaled_learning_rate(base: float, batch: int, scaling: str) -> float:
    """`base * batch / 256` (linear), `base * sqrt(batch)` (sqrt), or `base` (none).

    Raises:
      ValueError: Unknown scaling.
    """
    factors = {"linear": batch / 256, "sqrt": math.sqrt(batch), "none": 1.0}
    if scaling not in factors:
        raise ValueError(unknown("lr_scaling", scaling, factors))
    return base * factors[scaling]


@keras.saving.register_keras_serializable(package="tfssl")
class FunctionSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A function of the step as a Keras learning rate schedule.

    Args:
      function: Step to rate. It is saved with a model if it is a `functools.partial`
        of one of `SCHEDULES`, as `build_schedule` returns.
    """

    def __init__(self, function: Schedule):
        self.function = function

    def __call__(self, step: Step) -> tf.Tensor:
        """The rate of an update, float32 scalar."""
        return tf.cast(self.function(tf.convert_to_tensor(step)), tf.float32)

    def get_config(self) -> dict[str, Any]:
        """Name and numbers of the function.

        Raises:
          ValueError: The function is not one of ours.
        """
        names = {function: name for name, function in SCHEDULES.items()}
        function = self.function
        known = isinstance(function, functools.partial) and function.func in names
        if not known or function.args:
            raise ValueError(
                f"got the schedule {function}; expected functools.partial of one of "
                "tfssl.optim.SCHEDULES; try build_schedule(...)"
            )
        return {"name": names[function.func], "numbers": dict(function.keywords)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> FunctionSchedule:
        """The inverse of `get_config`."""
        return cls(functools.partial(SCHEDULES[config["name"]], **config["numbers"]))


def as_keras_schedule(function: Schedule) -> FunctionSchedule:
    """Wraps a function of the step for any Keras optimiser."""
    return FunctionSchedule(function)


def _split(step: Step) -> tuple[Any, Any]:
    """The module to compute with, and the step as a float of it."""
    if isinstance(step, (int, float, list, tuple, np.ndarray, np.generic)):
        return np, np.asarray(step, np.float64)
    return tf, tf.cast(tf.convert_to_tensor(step), tf.float32)


def _finish(value):
    if tf.is_tensor(value):
        return value
    return float(value) if np.ndim(value) == 0 else value


def _epoch(step: Step, length: int):
    """`step // length` in integers: a float quotient may round up to the next one."""
    if isinstance(step, (int, float, list, tuple, np.ndarray, np.generic)):
        return np.asarray(step) // length
    return tf.cast(tf.convert_to_tensor(step), tf.int64) // length


def _ramp(ops, s, warmup: int):
    return ops.minimum(s / warmup, 1.0) if warmup else ops.ones_like(s)


def _half_cosine(ops, left):
    """`(1 + cos(pi (1 - left))) / 2`; `left`, the fraction to go, clipped to [0, 1]."""
    left = ops.minimum(ops.maximum(left, 0.0), 1.0)
    return ops.square(ops.sin(0.5 * math.pi * left))
