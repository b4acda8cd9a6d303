"""Everything a run depends on, before TensorFlow loads: flags, rules, stored runs."""

from tfssl.config.config import (
    IDENTITY,
    RESUMABLE,
    SPECS,
    Config,
    difference,
    method_row,
    modes,
    resolve,
)
from tfssl.config.flag import Flags, flag
from tfssl.config.method_row import MethodRow

__all__ = [
    "IDENTITY",
    "RESUMABLE",
    "SPECS",
    "Config",
    "Flags",
    "MethodRow",
    "difference",
    "flag",
    "method_row",
    "modes",
    "resolve",
]
