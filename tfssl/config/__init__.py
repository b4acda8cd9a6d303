"""Everything a run depends on, before TensorFlow loads: flags, rules, stored runs."""

from tfssl.config.config import (
    IDENTITY,
    RESUMABLE,
    SPECS,
    Config,
    difference,
    identity,
    known_row,
    method_row,
    modes,
    resolve,
)
from tfssl.config.flag import Flags, Spec, flag
from tfssl.config.method_row import MethodRow

__all__ = [
    "IDENTITY",
    "RESUMABLE",
    "SPECS",
    "Config",
    "Flags",
    "MethodRow",
    "Spec",
    "difference",
    "flag",
    "identity",
    "known_row",
    "method_row",
    "modes",
    "resolve",
]
