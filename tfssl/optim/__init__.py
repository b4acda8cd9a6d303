"""Optimisers, learning rates as functions of the step, and the update itself."""

from tfssl.optim.exclude import DEFAULT_EXCLUDE, excluded
from tfssl.optim.lars import LARS
from tfssl.optim.optimizers import AdamW, Lamb, build_optimizer
from tfssl.optim.schedules import (
    SCHEDULES,
    FunctionSchedule,
    as_keras_schedule,
    build_schedule,
    byol_tau,
    constant,
    cosine,
    epoch_cosine,
    exponential,
    scaled_learning_rate,
    step_decay,
    warmup_cosine,
)
from tfssl.optim.sgd import SGD
from tfssl.optim.step_counts import milestone_steps, total_steps, warmup_steps
from tfssl.optim.update import apply_update, require_gradients

__all__ = [
    "DEFAULT_EXCLUDE",
    "LARS",
    "SCHEDULES",
    "SGD",
    "AdamW",
    "FunctionSchedule",
    "Lamb",
    "apply_update",
    "as_keras_schedule",
    "build_optimizer",
    "build_schedule",
    "byol_tau",
    "constant",
    "cosine",
    "epoch_cosine",
    "excluded",
    "exponential",
    "milestone_steps",
    "require_gradients",
    "scaled_learning_rate",
    "step_decay",
    "total_steps",
    "warmup_cosine",
    "warmup_steps",
]
