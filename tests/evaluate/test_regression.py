"""Logistic regression against scikit-learn, a closed form and finite differences."""

import numpy as np
import pytest
from scipy.special import log_softmax, xlogy
from sklearn.linear_model import LogisticRegression

from tfssl.evaluate import regression
from tfssl.evaluate.regression import L2_VALUES, fit, path


def problem(rows=120, width=6, classes=3, kind=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(classes, width))
    labels = np.arange(rows) % classes
    return (centres[labels] + rng.normal(size=(rows, width))).astype(kind), labels


@pytest.mark.parametrize("l2", [1e-3, 1.0, 100.0])
def test_the_minimum_is_scikit_learns(l2, monkeypatch):
    features, labels = problem()
    other = LogisticRegression(C=1 / l2, tol=1e-10, max_iter=10_000)
    other.fit(features, labels)
    monkeypatch.setattr(regression, "_CHUNK", 50)  # several, the last one not full
    got = fit(features, labels, l2, classes=3, tolerance=1e-9, steps=10_000)
    assert got.converged
    close = {"rtol": 1e-4, "atol": 2e-4}
    np.testing.assert_allclose(got.weights, other.coef_.T, **close)
    # Of the bias only differences matter.
    bias, wanted = (b - b.mean() for b in (got.bias, other.intercept_))
    np.testing.assert_allclose(bias, wanted, **close)
    single = fit(features.astype(np.float32), labels, l2, classes=3)
    np.testing.assert_allclose(single.logits(features), got.logits(features), atol=0.1)


def test_without_features_it_is_the_share_of_each_class():
    """The closed form: logits are the logarithms of the shares."""
    labels = np.array([0] * 5 + [1] * 3 + [2] * 2)
    got = fit(np.zeros((10, 2)), labels, 1.0, classes=3, tolerance=1e-10)
    np.testing.assert_allclose(
        log_softmax(got.bias), np.log([0.5, 0.3, 0.2]), atol=1e-7
    )
    assert not got.weights.any()


def test_one_feature_against_its_own_equation():
    """One-hot rows of two classes: the gradient at the minimum is zero by hand."""
    features, labels = np.eye(2).repeat([3, 3], axis=0), np.array([0, 0, 1, 1, 1, 0])
    l2 = 0.5
    got = fit(features, labels, l2, classes=2, tolerance=1e-10)
    logits = got.logits(features)
    p = np.exp(log_softmax(logits, axis=1))
    residual = features.T @ (p - np.eye(2)[labels]) + l2 * got.weights
    np.testing.assert_allclose(residual, 0, atol=1e-8)


def test_several_labels_are_each_against_the_rest():
    features, labels = problem()
    targets = np.stack([labels == 0, labels > 0, features[:, 0] > 0.3], 1).astype(
        np.int8
    )
    targets[::7, 2] = -1  # not asked
    got = fit(features, targets, 0.7, classes=3, tolerance=1e-9)
    for c in range(3):
        rows = targets[:, c] >= 0
        other = LogisticRegression(C=1 / 0.7, tol=1e-10, max_iter=10_000)
        other.fit(features[rows], targets[rows, c])
        np.testing.assert_allclose(got.weights[:, c], other.coef_[0], atol=2e-4)
        np.testing.assert_allclose(got.bias[c], other.intercept_[0], atol=2e-4)


@pytest.mark.parametrize("several", [False, True])
def test_loss_and_gradient(several):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(8, 3)) * 4
    targets = rng.integers(0, 3, 8)
    if several:
        targets = rng.integers(-1, 2, (8, 3)).astype(np.int8)
        p = 1 / (1 + np.exp(-logits))
        t = targets == 1
        each = -(xlogy(t, p) + xlogy(1 - t, 1 - p))
        want = each[targets >= 0].sum()
    else:
        want = -log_softmax(logits, axis=1)[np.arange(8), targets].sum()
    gradient = logits.copy()
    assert regression._loss(gradient, targets) == pytest.approx(want)
    for place in np.ndindex(logits.shape):
        more = logits.copy()
        more[place] += 1e-6
        slope = (regression._loss(more, targets) - want) / 1e-6
        assert gradient[place] == pytest.approx(slope, abs=1e-5)


def test_the_path_chooses_by_held_out_rows_and_starts_warm(monkeypatch):
    assert len(L2_VALUES) == 45 and L2_VALUES[4] == pytest.approx(1e-5)
    features, labels = problem(rows=400, width=40)
    seen = []

    def score(linear):
        seen.append((linear.logits(features[300:]).argmax(1) == labels[300:]).mean())
        return seen[-1]

    values = (1e-2, 1.0, 1e2, 1e6)
    best, linear, scores = path(
        features[:300], labels[:300], score, classes=3, values=values
    )
    assert scores == seen[::-1]  # from the strongest on
    assert best == max(
        v for v, s in zip(values, scores, strict=True) if s == max(scores)
    )
    steps = []
    real = regression.fit

    def counted(*a, **k):
        steps.append(real(*a, **k))
        return steps[-1]

    monkeypatch.setattr(regression, "fit", counted)
    path(features, labels, lambda linear: 0.0, classes=3, values=(1.0, 1.01))
    assert steps[1].steps < steps[0].steps / 2
    cold = real(features, labels, 1.0, classes=3)
    warm = real(features, labels, 1.0, classes=3, start=linear)
    np.testing.assert_allclose(cold.weights, warm.weights, atol=1e-3)
