"""Trained encoders as files that other programs open."""

from tfssl.exporters.folder import CARD, METADATA
from tfssl.exporters.formats import About, Inference
from tfssl.exporters.keras_file import export_keras
from tfssl.exporters.litert_file import export_litert
from tfssl.exporters.onnx_file import export_onnx
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
    "CARD",
    "INSIDE",
    "METADATA",
    "About",
    "Inference",
    "export_keras",
    "export_litert",
    "export_onnx",
    "export_saved_model",
    "export_torchvision",
    "inference_clone",
    "preprocessing",
]
