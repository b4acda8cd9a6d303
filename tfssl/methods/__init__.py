"""Everything that trains, behind one contract (`base.Method`)."""

from tfssl.methods.base import Batch, CouplesRows, Method, StepOutput
from tfssl.methods.byol import BYOL
from tfssl.methods.end_to_end import EndToEnd
from tfssl.methods.feature_bank import FeatureBank
from tfssl.methods.finetune import FineTune
from tfssl.methods.key_network import KeyNetwork
from tfssl.methods.key_queue import KeyQueue
from tfssl.methods.linear import LinearProbe
from tfssl.methods.memory_bank import MemoryBank
from tfssl.methods.moco import MoCo
from tfssl.methods.simclr import SimCLR

METHODS = {"byol": BYOL, "simclr": SimCLR, "moco": MoCo}
"""Pre-training methods by the value of `--method`."""

DICTIONARIES = {"queue": MoCo, "batch": EndToEnd, "bank": MemoryBank}
"""What `--method=moco` is, by the value of `--dictionary`."""

__all__ = [
    "BYOL",
    "DICTIONARIES",
    "METHODS",
    "Batch",
    "CouplesRows",
    "EndToEnd",
    "FeatureBank",
    "KeyNetwork",
    "FineTune",
    "KeyQueue",
    "LinearProbe",
    "MemoryBank",
    "Method",
    "MoCo",
    "SimCLR",
    "StepOutput",
]
