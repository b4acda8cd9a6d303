"""Data sets, and the two pipelines that read them."""

from tfssl.data.classes import every_class, in_classes, not_asked, targets_of
from tfssl.data.dense_rows import dense_inference, dense_training
from tfssl.data.drawing import Drawing, draw
from tfssl.data.encoded import Encoded
from tfssl.data.folder import Folder
from tfssl.data.memory import in_memory
from tfssl.data.objects import Objects
from tfssl.data.outlines import CLASS_NAMES
from tfssl.data.pipeline import inference, is_small, training
from tfssl.data.shapes import Shapes
from tfssl.data.source import Reading, Source, Summary
from tfssl.data.sources import open_source
from tfssl.data.splits import Split, parse_split
from tfssl.data.subset import oversampled, require_labels, spread, tenth, without_tenth
from tfssl.data.tfds_source import TfdsSource

__all__ = [
    "CLASS_NAMES",
    "Drawing",
    "Encoded",
    "Folder",
    "Objects",
    "Shapes",
    "Reading",
    "Source",
    "Summary",
    "Split",
    "TfdsSource",
    "dense_inference",
    "dense_training",
    "draw",
    "every_class",
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
