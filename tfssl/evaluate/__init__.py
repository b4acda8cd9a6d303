"""Protocols that measure a trained encoder: features, kNN, signals of collapse."""

from tfssl.evaluate.collapse import CollapseSignals, collapse_signals, verdict
from tfssl.evaluate.features import Features, extract_features
from tfssl.evaluate.knn import KnnResult, knn, nearest, vote
from tfssl.evaluate.metrics import Classification, classification, rank, top_k

__all__ = [
    "Classification",
    "CollapseSignals",
    "Features",
    "KnnResult",
    "classification",
    "collapse_signals",
    "extract_features",
    "knn",
    "nearest",
    "rank",
    "top_k",
    "verdict",
    "vote",
]
