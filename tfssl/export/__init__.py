"""Trained encoders as files that other programs serve."""

from tfssl.export.saved_model import export_saved_model, inference_clone

__all__ = ["export_saved_model", "inference_clone"]
