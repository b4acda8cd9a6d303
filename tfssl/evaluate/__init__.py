"""Protocols that measure a trained encoder: features, kNN, signals of collapse."""

from tfssl.evaluate.collapse import collapse_signals, verdict
from tfssl.evaluate.features import Features, extract_features, ranked
from tfssl.evaluate.knn import knn, nearest, vote
from tfssl.evaluate.metrics import classification, rank, rank_by

__all__ = [
    "Features",
    "classification",
    "collapse_signals",
    "extract_features",
    "knn",
    "nearest",
    "rank",
    "rank_by",
    "ranked",
    "verdict",
    "vote",
]
