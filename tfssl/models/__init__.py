"""Networks: ResNet encoders, projection heads and batch norm over replicas."""

from __future__ import annotations

from tfssl.config.encoder_name import EncoderSpec, parse_encoder
from tfssl.models.batchnorm import BatchNorm, frozen_statistics
from tfssl.models.families import FAMILIES, Family
from tfssl.models.faster_rcnn import FasterRCNN
from tfssl.models.foreign import build_foreign_encoder
from tfssl.models.foreign_teacher import build_foreign_teacher
from tfssl.models.heads import byol_mlp, linear_head, moco_head, simclr_head
from tfssl.models.images import Normalize, normalization_of, normalize
from tfssl.models.normalization import NORMALIZATIONS, GroupNorm
from tfssl.models.resnet import (
    Encoder,
    resnet10,
    resnet18,
    resnet34,
    resnet50,
    resnet101,
    resnet152,
    resnet200,
)
from tfssl.models.retinanet import RetinaNet

__all__ = [
    "FAMILIES",
    "NORMALIZATIONS",
    "BatchNorm",
    "Encoder",
    "EncoderSpec",
    "Family",
    "FasterRCNN",
    "GroupNorm",
    "Normalize",
    "RetinaNet",
    "build_foreign_encoder",
    "build_foreign_teacher",
    "byol_mlp",
    "frozen_statistics",
    "linear_head",
    "moco_head",
    "normalization_of",
    "normalize",
    "parse_encoder",
    "resnet10",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnet200",
    "simclr_head",
]
