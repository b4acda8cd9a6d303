"""The table of optimisers, and how each reads the same few arguments."""

from __future__ import annotations

from typing import Any

import keras

from tfssl.config import tables
from tfssl.optim.exclude import (
    Exclude,
    checked,
    exclude_config,
    exclude_from_config,
    excluded,
)
from tfssl.optim.lars import LARS
from tfssl.optim.schedules import Schedule, as_keras_schedule
from tfssl.optim.sgd import SGD


class _PathExclusion:
    """Keras' decoupled decay, excluded by path.

    `exclude_from_weight_decay(var_names=...)` searches `name`, which in Keras 3 is only
    "gamma"; the rule is therefore resolved to variables when they are known.
    """

    def __init__(self, *args, exclude: Exclude = None, **kwargs):
        super().__init__(*args, **kwargs)
        self.exclude = checked(exclude)

    def build(self, variables):
        if self.built:  # type: ignore[attr-defined]
            return
        free = excluded(self.exclude, variables)
        self.exclude_from_weight_decay(  # type: ignore[attr-defined]
            var_list=[v for v, out in zip(variables, free, strict=True) if out]
        )
        super().build(variables)  # type: ignore[misc]

    def get_config(self):
        config = super().get_config()  # type: ignore[misc]
        return config | {"exclude": exclude_config(self.exclude)}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = config | {"exclude": exclude_from_config(config["exclude"])}
        return super().from_config(  # type: ignore[misc]
            config, custom_objects=custom_objects
        )


@keras.saving.register_keras_serializable(package="tfssl")
class AdamW(_PathExclusion, keras.optimizers.AdamW):
    """`keras.optimizers.AdamW` whose decay is excluded by path, see `excluded`."""


@keras.saving.register_keras_serializable(package="tfssl")
class Lamb(_PathExclusion, keras.optimizers.Lamb):
    """`keras.optimizers.Lamb` whose decay is excluded by path, see `excluded`.

    Keras decays decoupled, `w = w - lr * weight_decay * w`; the paper (1904.00962)
    adds the decay to the step before the trust ratio.
    """


def lars(rate: Any, momentum: float, *, lr_in_velocity: bool | None, **shared: Any):
    """Makes LARS; by default with the rate in the velocity, as SimCLR has it."""
    inside = True if lr_in_velocity is None else lr_in_velocity
    return LARS(rate, momentum=momentum, lr_in_velocity=inside, **shared, name="lars")


def sgd(
    rate: Any,
    momentum: float,
    *,
    lr_in_velocity: bool | None,
    exclude: Exclude,
    **shared: Any,
) -> SGD:
    """Makes SGD; by default with the rate outside the velocity, as MoCo has it."""
    return SGD(
        rate,
        momentum=momentum,
        lr_in_velocity=bool(lr_in_velocity),
        exclude=() if exclude is None else exclude,
        **shared,
        name="sgd",
    )


def adamw(
    rate: Any, momentum: float, *, weight_decay: float, exclude: Exclude, **_: Any
):
    """Makes AdamW, whose `beta_1` is the momentum."""
    return AdamW(
        rate, beta_1=momentum, weight_decay=weight_decay, exclude=exclude, name="adamw"
    )


def lamb(
    rate: Any, momentum: float, *, weight_decay: float, exclude: Exclude, **_: Any
):
    """Makes LAMB, whose `beta_1` is the momentum."""
    return Lamb(
        rate, beta_1=momentum, weight_decay=weight_decay, exclude=exclude, name="lamb"
    )


def build_optimizer(
    name: str,
    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule | Schedule,
    *,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    lr_in_velocity: bool | None = None,
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
    return make(
        rate,
        momentum,
        weight_decay=weight_decay,
        nesterov=nesterov,
        lr_in_velocity=lr_in_velocity,
        exclude=exclude,
    )
