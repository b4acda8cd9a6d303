"""Trained encoders as files that other programs open."""

from tfssl.exporters.keras_file import export_keras
from tfssl.exporters.saved_model import (
    BEFORE,
    INSIDE,
    export_saved_model,
    inference_clone,
    preprocessing,
)
from tfssl.exporters.torchvision_file import export_torchvision

__all__ = [
    "BEFORE",
    "INSIDE",
    "export_keras",
    "export_saved_model",
    "export_torchvision",
    "inference_clone",
    "preprocessing",
]
