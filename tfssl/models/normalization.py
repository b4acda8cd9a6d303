"""What stands where the official networks have BatchNorm: a table, one row a choice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras

from tfssl.errors import ConfigError, unknown
from tfssl.models.batchnorm import BatchNorm
from tfssl.models.convolution import Conv
from tfssl.models.groupnorm import Affine, GroupNorm
from tfssl.models.standardized import StandardizedConv, StandardizedDense


class Normalization(NamedTuple):
    """The layers of one choice.

    Layers keep the names that they have with BatchNorm, and `gamma` and `beta` theirs:
    LARS and weight decay leave them alone by these names.

    Attributes:
      norm: Of BatchNorm's own rules (a dict) and the layer's arguments `center`,
        `gamma_initializer`, `name`, `dtype`, to the layer.
      conv: Makes the convolution before it.
      dense: Makes the linear layer before it.
    """

    norm: Callable[..., keras.layers.Layer]
    conv: Callable[..., keras.layers.Layer]
    dense: Callable[..., keras.layers.Layer]


def _batch(rules: dict[str, Any], **options: Any) -> keras.layers.Layer:
    return BatchNorm(**rules, **options)


def _group(rules: dict[str, Any], **options: Any) -> keras.layers.Layer:
    del rules
    return GroupNorm(**options)


def _none(rules: dict[str, Any], **options: Any) -> keras.layers.Layer:
    del rules
    return Affine(**options)


NORMALIZATIONS: dict[str, Normalization] = {
    "batch": Normalization(_batch, Conv, keras.layers.Dense),
    "group_ws": Normalization(_group, StandardizedConv, StandardizedDense),
    "none": Normalization(_none, Conv, keras.layers.Dense),
}
"""`batch`: as published. The others are BYOL's ablation (Richemond et al. 2020):

`group_ws`: group normalisation, and weight standardisation of the kernels in front of
it; the gates of selective kernels and a head's last layer, in front of none, keep
theirs. `none`: the scale and shift that BatchNorm learns remain, so residual branches
can still start at zero.
"""


def get_normalization(name: str) -> Normalization:
    """Looks a choice up.

    Args:
      name: A key of `NORMALIZATIONS`.

    Returns:
      Its layers.

    Raises:
      ConfigError: There is none of this name.
    """
    if name not in NORMALIZATIONS:
        raise ConfigError(unknown("--normalization", name, NORMALIZATIONS))
    return NORMALIZATIONS[name]
