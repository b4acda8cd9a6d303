"""What the modes of a command are about, one after the other. No TensorFlow."""

from __future__ import annotations

from tfssl.config.config import Config, modes
from tfssl.config.dense_cells import RANDOM, WEIGHTS, is_table
from tfssl.config.label_cells import is_curve

PROJECTIONS, PROBABILITIES = "projections", "probabilities"


def leaves_a_run(config: Config, mode: str) -> bool:
    """Whether a mode trains a run of its own, which the modes after it are about."""
    if mode in WEIGHTS:
        return not is_table(config) and getattr(config, WEIGHTS[mode]) != RANDOM
    return mode in ("finetune", "distill") and not is_curve(config)


def lacks(run: Config) -> tuple[str, ...]:
    """Returns what of `embed_also` a run cannot give.

    Args:
      run: Its flags.
    """
    asked = modes(run)
    taught = asked == ["distill"] and run.distill_target == "classes"
    if taught or asked == ["finetune"]:
        return (PROJECTIONS,)
    pretrained = asked[:1] not in (["distill"], ["detect"], ["segment"], ["convert"])
    return (PROBABILITIES,) if pretrained and not run.source else (
        PROJECTIONS, PROBABILITIES,
    )  # fmt: skip
