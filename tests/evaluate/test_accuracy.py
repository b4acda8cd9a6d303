"""Top-k accuracy against scikit-learn's."""

import numpy as np
import pytest
from sklearn.metrics import top_k_accuracy_score

from tfssl.evaluate import top_k


@pytest.mark.parametrize("k", [1, 3, 7])
def test_equals_scikit_learn(k):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=[50, 7]), rng.integers(7, size=50)
    want = top_k_accuracy_score(labels, logits, k=k, labels=range(7)) if k < 7 else 1.0
    assert top_k(logits, labels, k) == pytest.approx(want)
