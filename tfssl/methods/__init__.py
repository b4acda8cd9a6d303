"""Everything that trains, behind one contract (`base.Method`).

Which methods there are, and what each is built by, says `tfssl.config.methods`.
"""

from tfssl.methods.base import Batch, CouplesRows, Method, Setup, StepOutput
from tfssl.methods.byol import BYOL
from tfssl.methods.detect import Detect, DetectRegions
from tfssl.methods.distill import Distill, DistillFeatures
from tfssl.methods.finetune import FineTune
from tfssl.methods.linear import LinearProbe
from tfssl.methods.moco import KeyNetwork, KeyQueue, MoCo
from tfssl.methods.moco_dictionaries import EndToEnd, FeatureBank, MemoryBank
from tfssl.methods.online_probe import with_probe
from tfssl.methods.segment import Segment
from tfssl.methods.simclr import SimCLR

__all__ = [
    "BYOL",
    "Batch",
    "CouplesRows",
    "Detect",
    "DetectRegions",
    "Distill",
    "DistillFeatures",
    "EndToEnd",
    "FeatureBank",
    "FineTune",
    "KeyNetwork",
    "KeyQueue",
    "LinearProbe",
    "MemoryBank",
    "Method",
    "MoCo",
    "Segment",
    "Setup",
    "SimCLR",
    "StepOutput",
    "with_probe",
]
