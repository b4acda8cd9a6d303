"""Data sets, and the two pipelines that read them."""

from tfssl.data.classes import every_class, in_classes, not_asked, targets_of
from tfssl.data.dense_rows import dense_inference, dense_training
from tfssl.data.encoded import Encoded
from tfssl.data.fingerprint import fingerprint
from tfssl.data.folder import Folder
from tfssl.data.memory import in_memory
from tfssl.data.pipeline import inference, is_small, training
from tfssl.data.shapes import Shapes
from tfssl.data.source import Source
from tfssl.data.sources import open_source
from tfssl.data.splits import parse_split
from tfssl.data.subset import oversampled, require_labels, spread, tenth, without_tenth

__all__ = [
    "Encoded",
    "Folder",
    "Shapes",
    "Source",
    "dense_inference",
    "dense_training",
    "every_class",
    "fingerprint",
    "in_classes",
    "in_memory",
    "inference",
    "is_small",
    "not_asked",
    "open_source",
    "oversampled",
    "parse_split",
    "require_labels",
    "spread",
    "targets_of",
    "tenth",
    "training",
    "without_tenth",
]
