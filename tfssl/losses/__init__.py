"""Losses: tensors in, `[batch]` out; no state, no strategy, no hidden reduction."""

from tfssl.losses.byol import byol_regression
from tfssl.losses.cross_entropy import (
    labelled_cross_entropy,
    several_labels_cross_entropy,
)
from tfssl.losses.detection import focal_loss, smooth_l1
from tfssl.losses.distillation import distillation_cross_entropy
from tfssl.losses.info_nce import (
    info_nce,
    info_nce_accuracy,
    info_nce_batch,
    info_nce_batch_accuracy,
)
from tfssl.losses.normalize import (
    MOCO_SQUARED_EPSILON,
    as_float,
    l2_normalize,
    moco_normalize,
)
from tfssl.losses.nt_xent import nt_xent, nt_xent_scalars

__all__ = [
    "MOCO_SQUARED_EPSILON",
    "as_float",
    "byol_regression",
    "distillation_cross_entropy",
    "focal_loss",
    "info_nce",
    "info_nce_accuracy",
    "info_nce_batch",
    "info_nce_batch_accuracy",
    "l2_normalize",
    "labelled_cross_entropy",
    "moco_normalize",
    "nt_xent",
    "nt_xent_scalars",
    "several_labels_cross_entropy",
    "smooth_l1",
]
