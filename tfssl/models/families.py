"""Differences of the three official networks of one depth: a table of facts."""

from __future__ import annotations

import dataclasses

import keras

from tfssl.core.seeds import init_seed
from tfssl.errors import ConfigError, unknown


@dataclasses.dataclass(frozen=True)
class Family:
    """One official network definition.

    Attributes:
      name: Its key in `FAMILIES`.
      conv_padding: Of convolutions with a stride, `"same"` or `"symmetric"`.
      pool_padding: Of the max-pool in the stem.
      project_first: Whether the first block of the first stage has a projection on its
        shortcut even where shapes already match (basic blocks).
      moving_variance: What batch norm stores, `"biased"` or `"unbiased"`.
      zero_debias: Whether its averages are corrected for their start.
      zero_last_gamma: Residual branches that start at zero by default: of `"all"`
        blocks, of `"bottleneck"` blocks, or of `"none"`.
      source: Where this comes from.
    """

    name: str
    conv_padding: str
    pool_padding: str
    project_first: bool
    moving_variance: str
    zero_debias: bool
    zero_last_gamma: str
    source: str

    def starts_at_zero(self, bottleneck: bool) -> bool:
        """Returns whether residual branches start at zero by default."""
        return self.zero_last_gamma == "all" or (
            self.zero_last_gamma == "bottleneck" and bottleneck
        )

    def batch_norm(self) -> dict:
        """Arguments of `BatchNorm`: decay 0.9 and epsilon 1e-5 in all three."""
        return {
            "momentum": 0.9,
            "epsilon": 1e-5,
            "moving_variance": self.moving_variance,
            "zero_debias": self.zero_debias,
        }


FAMILIES: dict[str, Family] = {
    "simclr": Family(
        name="simclr",
        conv_padding="symmetric",
        pool_padding="same",
        project_first=True,
        moving_variance="biased",
        zero_debias=False,
        zero_last_gamma="all",
        source="google-research/simclr tf2/resnet.py @383d414",
    ),
    "byol": Family(
        name="byol",
        conv_padding="same",
        pool_padding="same",
        project_first=True,
        moving_variance="biased",
        zero_debias=True,
        zero_last_gamma="bottleneck",
        source="google-deepmind/deepmind-research byol/utils/networks.py @f5de0ed",
    ),
    "moco": Family(
        name="moco",
        conv_padding="symmetric",
        pool_padding="symmetric",
        project_first=False,
        moving_variance="unbiased",
        zero_debias=False,
        zero_last_gamma="none",
        source="torchvision resnet, as facebookresearch/moco @7397dfe uses it",
    ),
}
"""What the official codes do differently, by the name of the method they are of."""


def get_family(name: str) -> Family:
    """Returns a family.

    Args:
      name: A key of `FAMILIES`.

    Returns:
      The `Family`.

    Raises:
      ConfigError: There is none of this name.
    """
    if name not in FAMILIES:
        raise ConfigError(unknown("family", name, FAMILIES))
    return FAMILIES[name]


def conv_initializer(
    family: Family, *, fan_in: int, seed: int, weight: str
) -> keras.initializers.Initializer:
    """Makes the initialiser of one convolution kernel.

    simclr: normal cut at two deviations, variance 1 / fan_in after the cut. byol: the
    same cut, deviation 1 / sqrt(fan_in) before it (haiku's default). moco: normal,
    variance 2 / fan_out (He et al. 2015, `kaiming_normal_(mode="fan_out")`).

    Args:
      family: Which of the three.
      fan_in: Inputs per output, kernel positions included.
      seed: The run's seed.
      weight: Full name of the weight; it selects the draw together with `seed`.

    Returns:
      A Keras initialiser, a pure function of (seed, weight).
    """
    draw = init_seed(seed, weight)
    if family.name == "byol":
        return keras.initializers.TruncatedNormal(stddev=fan_in**-0.5, seed=draw)
    scale, mode, distribution = (
        (2.0, "fan_out", "untruncated_normal")
        if family.name == "moco"
        else (1.0, "fan_in", "truncated_normal")
    )
    return keras.initializers.VarianceScaling(scale, mode, distribution, seed=draw)
