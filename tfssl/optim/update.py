"""One update on every replica's own copy, without a second all-reduce."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf

from tfssl.core import variables as core_variables
from tfssl.errors import message


def apply_update(
    optimizer: keras.optimizers.Optimizer,
    gradients: Sequence[tf.Tensor | None],
    variables: Sequence,
    own_rates: Sequence[tf.Tensor | None] | None = None,
) -> None:
    """Applies gradients that are already summed over replicas.

    `optimizer.apply_gradients` would sum them once more (Keras 3 has no way to say
    that it was done), and clips before its sum. Here every replica makes the same
    update on its own copies: the inputs are equal, so the copies stay equal, bit for
    bit. Works in replica context and without a strategy; order as in Keras: clipping,
    decoupled decay, `update_step`, constraints, `iterations`.

    Args:
      optimizer: Built on `variables`, inside the strategy's scope.
      gradients: One per variable, equal on every replica.
      variables: Keras weights or `tf.Variable`s that the optimiser was built on.
      own_rates: One learning rate per variable; None: the optimiser's.

    Raises:
      ValueError: The optimiser is not built or uses `use_ema`,
        `gradient_accumulation_steps` or loss scaling; a gradient is None.
    """
    _check(optimizer, gradients, variables)
    raw = [core_variables.raw(v) for v in variables]
    # private, but the one implementation of the three clip arguments; without a sum
    # to follow it is right here.
    gradients = optimizer._clip_gradients(list(gradients))
    learning_rate = tf.convert_to_tensor(optimizer.learning_rate)
    rates = [
        learning_rate if own is None else tf.cast(own, learning_rate.dtype)
        for own in own_rates or [None] * len(raw)
    ]
    _decay(optimizer, raw, rates)
    for gradient, variable, rate in zip(gradients, raw, rates, strict=True):
        optimizer.update_step(gradient, variable, rate)
    for variable, value in zip(variables, raw, strict=True):
        constraint = getattr(variable, "constraint", None)
        if constraint is not None:
            value.assign(constraint(tf.convert_to_tensor(value)))
    optimizer.iterations.assign_add(1)


def _decay(optimizer, raw: list[tf.Variable], rates: list[tf.Tensor]) -> None:
    """Keras' decoupled decay; theirs needs a merge call, this one is local."""
    if not optimizer.weight_decay:
        return
    for variable, rate in zip(raw, rates, strict=True):
        if optimizer._use_weight_decay(variable):
            factor = tf.cast(rate * optimizer.weight_decay, variable.dtype)
            variable.assign_sub(tf.convert_to_tensor(variable) * factor)


def _check(optimizer, gradients, variables) -> None:
    if not optimizer.built:
        raise ValueError(
            message(
                "an optimizer without variables",
                "one that was built",
                "optimizer.build(variables) inside strategy.scope()",
            )
        )
    for option in ("use_ema", "gradient_accumulation_steps", "loss_scale_factor"):
        if getattr(optimizer, option, None):
            raise ValueError(
                message(
                    f"{option}={getattr(optimizer, option)}",
                    "an optimizer without it",
                    "the training loop's own means",
                )
            )
    require_gradients(gradients, variables)


def require_gradients(
    gradients: Sequence[tf.Tensor | None], variables: Sequence
) -> None:
    """Refuses a loss that leaves trainable variables out.

    Raises:
      ValueError: A gradient is None; names its variable.
    """
    missing = [
        core_variables.path(v)
        for g, v in zip(gradients, variables, strict=True)
        if g is None
    ]
    if missing:
        raise ValueError(
            message(
                f"no gradient for {', '.join(missing)}",
                "a loss that depends on every trainable variable",
                "leaving them out of trainable_variables",
            )
        )
