"""Trained encoders as files that other programs open."""

from tfssl.export.keras_file import export_keras
from tfssl.export.saved_model import export_saved_model, inference_clone, preprocessing
from tfssl.export.torchvision_file import export_torchvision

__all__ = [
    "export_keras",
    "export_saved_model",
    "export_torchvision",
    "inference_clone",
    "preprocessing",
]
