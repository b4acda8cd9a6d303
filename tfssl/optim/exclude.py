"""Which variables weight decay and layer adaptation leave alone, by their paths."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import keras

from tfssl.core import variables as core_variables

Exclude = Sequence[str] | Callable[[str], bool] | None

DEFAULT_EXCLUDE: tuple[str, ...] = (
    # A leaf that is a bias or a normalisation's vector, in Keras or haiku names.
    r"(^|/)(bias|beta|gamma|offset|scale)$",
    # Anything directly in a normalisation layer: "batch_normalization_3/x", "bn1/x".
    r"(?i)(^|[/_])(\w*norm|\w*normalization|bn)(_?\d+)?/[^/]+$",
)
"""Regular expressions of what SimCLR's and BYOL's LARS exclude.

SimCLR's lists are 'batch_normalization', 'bias', 'head_supervised' on the TF1 name;
add the last one yourself where an online probe trains beside the encoder. BYOL's
filter is a leaf 'b' or 'norm' anywhere in the module's name.
"""


def excluded(exclude: Exclude, variables: Sequence) -> list[bool]:
    """Resolves an exclusion rule, once, when an optimiser is built.

    Matching is on the full path ("encoder/bn1/gamma"): in Keras 3 a variable's `name`
    is only "gamma", so the published name lists would match nothing by name.

    Args:
      exclude: Regular expressions searched in the path, or a function of the path.
        None means `DEFAULT_EXCLUDE` and, whatever its path, every variable with at
        most one dimension: a plain `tf.Variable` is often called "Variable", and
        vectors of such networks are biases and normalisations. An empty sequence
        excludes nothing.
      variables: Keras weights or `tf.Variable`s.

    Returns:
      One bool per variable.
    """
    if callable(exclude):
        return [bool(exclude(core_variables.path(v))) for v in variables]
    patterns = DEFAULT_EXCLUDE if exclude is None else tuple(exclude)
    rules = [re.compile(pattern) for pattern in patterns]
    return [
        (exclude is None and len(v.shape) <= 1)
        or any(rule.search(core_variables.path(v)) for rule in rules)
        for v in variables
    ]


def checked(exclude: Exclude) -> Exclude:
    """The rule as given; a single string is taken as one pattern.

    Raises:
      ValueError: A pattern is not a regular expression.
    """
    if exclude is None or callable(exclude):
        return exclude
    patterns = (exclude,) if isinstance(exclude, str) else tuple(exclude)
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(
                f"got exclude={pattern!r}; expected a regular expression ({error}); "
                "try re.escape() around a literal name"
            ) from error
    return patterns


def exclude_config(exclude: Exclude) -> Any:
    """The rule as something that JSON holds; a function must be registered in Keras."""
    if callable(exclude):
        return keras.saving.serialize_keras_object(exclude)
    return None if exclude is None else [str(pattern) for pattern in exclude]


def exclude_from_config(config: Any) -> Exclude:
    """The inverse of `exclude_config`."""
    if isinstance(config, dict):
        return keras.saving.deserialize_keras_object(config)
    return config


class DecayByPath:
    """Keras' decoupled decay, excluded by path.

    `exclude_from_weight_decay(var_names=...)` searches `name`, which in Keras 3 is only
    "gamma"; the rule is therefore resolved to variables when they are known.
    """

    def __init__(self, *args, exclude: Exclude = None, **kwargs):
        super().__init__(*args, **kwargs)
        self.exclude = checked(exclude)

    def build(self, variables: list) -> None:
        """Makes the optimiser's variables, and resolves the exclusion."""
        if self.built:  # type: ignore[attr-defined]
            return
        self._free = excluded(self.exclude, variables)
        self.exclude_from_weight_decay(  # type: ignore[attr-defined]
            var_list=[v for v, out in zip(variables, self._free, strict=True) if out]
        )
        super().build(variables)  # type: ignore[misc]

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments to make the same optimiser again."""
        config = super().get_config()  # type: ignore[misc]
        return config | {"exclude": exclude_config(self.exclude)}

    @classmethod
    def from_config(cls, config: dict, custom_objects: Any = None) -> Any:
        """Makes an optimiser from what `get_config` returned."""
        config = config | {"exclude": exclude_from_config(config["exclude"])}
        return super().from_config(  # type: ignore[misc]
            config, custom_objects=custom_objects
        )
