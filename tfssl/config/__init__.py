"""Everything a run depends on, before TensorFlow loads: flags, rules, stored runs."""

from tfssl.config.fields import (
    IDENTITY,
    RESUMABLE,
    SPECS,
    Config,
    Spec,
    difference,
    left_open,
    modes,
    resolve,
)

__all__ = [
    "IDENTITY",
    "RESUMABLE",
    "SPECS",
    "Config",
    "Spec",
    "difference",
    "left_open",
    "modes",
    "resolve",
]
