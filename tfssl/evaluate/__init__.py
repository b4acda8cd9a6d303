"""Protocols that measure a trained encoder: features, kNN, signals of collapse."""

from tfssl.evaluate.accuracy import top_k
from tfssl.evaluate.collapse import CollapseSignals, collapse_signals, verdict
from tfssl.evaluate.features import Features, extract_features
from tfssl.evaluate.knn import KnnResult, knn, nearest, vote

__all__ = [
    "CollapseSignals",
    "Features",
    "KnnResult",
    "collapse_signals",
    "extract_features",
    "knn",
    "nearest",
    "top_k",
    "verdict",
    "vote",
]
