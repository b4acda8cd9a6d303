"""Everything that trains, behind one contract (`base.Method`)."""

from tfssl.methods.base import Batch, CouplesRows, Method, StepOutput
from tfssl.methods.byol import BYOL
from tfssl.methods.key_queue import KeyQueue
from tfssl.methods.linear import LinearProbe
from tfssl.methods.moco import MoCo
from tfssl.methods.simclr import SimCLR

METHODS = {"byol": BYOL, "simclr": SimCLR, "moco": MoCo}
"""Pre-training methods by the value of `--method`."""

__all__ = [
    "BYOL",
    "METHODS",
    "Batch",
    "CouplesRows",
    "KeyQueue",
    "LinearProbe",
    "Method",
    "MoCo",
    "SimCLR",
    "StepOutput",
]
