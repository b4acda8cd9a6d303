"""Published checkpoints of other programs, as tensors under our own names."""

from tfssl.weights.network import Foreign, Network
from tfssl.weights.provenance import describe, licence_text
from tfssl.weights.sources import SOURCES, open_source

__all__ = [
    "SOURCES",
    "Foreign",
    "Network",
    "describe",
    "licence_text",
    "open_source",
]
