"""Trained encoders as files that other programs open."""

from tfssl.exporters.folder import CARD, METADATA, About
from tfssl.exporters.formats import Inference
from tfssl.exporters.saved_model import export_saved_model, inference_clone

__all__ = [
    "CARD",
    "METADATA",
    "About",
    "Inference",
    "export_saved_model",
    "inference_clone",
]
