"""The table of optimisers, and how each reads the same few arguments."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras

from tfssl.config import tables
from tfssl.optim.exclude import DecayByPath, Exclude
from tfssl.optim.lamb import Lamb
from tfssl.optim.lars import LARS
from tfssl.optim.schedules import Schedule, as_keras_schedule
from tfssl.optim.sgd import SGD


@keras.saving.register_keras_serializable(package="tfssl")
class AdamW(DecayByPath, keras.optimizers.AdamW):
    """`keras.optimizers.AdamW` whose decay is excluded by path, see `excluded`."""


class Shared(NamedTuple):
    """What every optimiser of the table is given; `build_optimizer` says of each."""

    momentum: float
    weight_decay: float
    nesterov: bool
    lr_in_velocity: bool | None
    lamb_decay: str
    exclude: Exclude


def lars(rate: Any, shared: Shared) -> LARS:
    """Makes LARS; by default with the rate in the velocity, as SimCLR has it."""
    inside = shared.lr_in_velocity
    return LARS(
        rate,
        momentum=shared.momentum,
        weight_decay=shared.weight_decay,
        nesterov=shared.nesterov,
        lr_in_velocity=True if inside is None else inside,
        exclude=shared.exclude,
        name="lars",
    )


def sgd(rate: Any, shared: Shared) -> SGD:
    """Makes SGD; by default with the rate outside the velocity, as MoCo has it."""
    return SGD(
        rate,
        momentum=shared.momentum,
        weight_decay=shared.weight_decay,
        nesterov=shared.nesterov,
        lr_in_velocity=bool(shared.lr_in_velocity),
        exclude=() if shared.exclude is None else shared.exclude,
        name="sgd",
    )


def adamw(rate: Any, shared: Shared) -> AdamW:
    """Makes AdamW, whose `beta_1` is the momentum."""
    return AdamW(
        rate,
        beta_1=shared.momentum,
        weight_decay=shared.weight_decay,
        exclude=shared.exclude,
        name="adamw",
    )


def lamb(rate: Any, shared: Shared) -> Lamb:
    """Makes LAMB, whose `beta_1` is the momentum."""
    return Lamb(
        rate,
        beta_1=shared.momentum,
        weight_decay=shared.weight_decay,
        decay=shared.lamb_decay,
        exclude=shared.exclude,
        name="lamb",
    )


def build_optimizer(
    name: str,
    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule | Schedule,
    *,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    lr_in_velocity: bool | None = None,
    lamb_decay: str = "keras",
    exclude: Exclude = None,
) -> keras.optimizers.Optimizer:
    """An optimiser by name. Build it on the variables in the strategy's scope.

    Args:
      name: `lars`, `sgd`, `adamw` or `lamb`.
      learning_rate: Float, Keras schedule, or a function of the step.
      momentum: In [0, 1); `beta_1` of adamw and lamb.
      weight_decay: Added to the gradient by lars and sgd; decoupled, times the
        learning rate, in adamw and lamb.
      nesterov: Nesterov's step, lars and sgd only.
      lr_in_velocity: Where the rate enters the momentum, lars and sgd only; None:
        inside for lars (SimCLR), outside for sgd (MoCo). BYOL: lars with False.
      lamb_decay: Of lamb: `keras` or `paper`, see `Lamb`.
      exclude: What has no decay (lars: and no adaptation), see `excluded`. None:
        nothing for sgd, as in MoCo; biases, normalisations and vectors for the others.

    Returns:
      A Keras optimiser, named `name`: the name is in its variables' paths, which must
      not depend on how many optimisers the process has made before.

    Raises:
      ValueError: Unknown name, or an argument out of range.
    """
    make = tables.find(tables.OPTIMIZERS, "optimizer", name, ValueError)
    rate: Any = learning_rate
    if isinstance(rate, (int, float)):
        rate = float(rate)
    elif not isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        rate = as_keras_schedule(rate)
    shared = Shared(
        momentum, weight_decay, nesterov, lr_in_velocity, lamb_decay, exclude
    )
    return make(rate, shared)
