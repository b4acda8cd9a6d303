"""Plain `tf.Variable`s behind Keras weights, and their names in checkpoints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import keras
import tensorflow as tf


def raw(variable: tf.Variable | keras.Variable) -> tf.Variable:
    """Returns the `tf.Variable` behind a Keras weight; a `tf.Variable` is itself."""
    return variable if isinstance(variable, tf.Variable) else variable.value


def path(variable: tf.Variable | keras.Variable) -> str:
    """Returns a weight's full path, `"stem_conv/kernel"`; its name is the last part.

    A `tf.Variable` has no path; its name stands for it.
    """
    full = getattr(variable, "path", None) or variable.name
    return full.split(":")[0]


def named(prefix: str, variables: Iterable) -> dict[str, tf.Variable]:
    """Names variables `prefix/path`: the names of our checkpoint format.

    Args:
      prefix: The role, such as `"online/encoder"`.
      variables: Keras weights or `tf.Variable`s with distinct paths.

    Returns:
      Name to `tf.Variable`, in the order given.

    Raises:
      ValueError: Two variables have one name.
    """
    items: dict[str, tf.Variable] = {}
    for variable in variables:
        name = f"{prefix}/{path(variable)}"
        if name in items:
            raise ValueError(f"two variables are called {name}; layers need names")
        items[name] = raw(variable)
    return items


def copy_values(source: Sequence, target: Sequence) -> None:
    """Assigns the values of one model's variables to another's, pair by pair."""
    for s, t in zip(source, target, strict=True):
        raw(t).assign(tf.cast(raw(s), raw(t).dtype))


def move_towards(target: Sequence, online: Sequence, rate: tf.Tensor | float) -> None:
    """Exponential moving average: `target += rate * (online - target)`.

    In replica context every replica writes its own copy; since the online weights are
    equal on all replicas, so are the targets.

    Args:
      target: Variables that move.
      online: Variables that they follow, pair by pair.
      rate: `1 - tau`, scalar in [0, 1].
    """
    for t, o in zip(target, online, strict=True):
        t, o = raw(t), raw(o)
        t.assign(t + tf.cast(rate, t.dtype) * (o - t))
