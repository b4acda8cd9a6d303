"""Logistic regression on features by L-BFGS, along a path of L2 values.

Minimised over W `[F, C]` and b `[C]`, with the sum over the n rows,

    sum_i loss(x_i W + b, y_i) + l2 / 2 * |W|^2

so that l2 is scikit-learn's 1 / C. `loss` is the cross entropy of the softmax; of
several labels an image the sum over the classes of the logistic loss, whose minimum is
that of each class against the rest by itself. The papers choose among 45 values from
1e-6 to 1e5 on validation images (Kornblith et al. 2019, section A.1; SimCLR, B.8.1).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from scipy import optimize
from threadpoolctl import threadpool_limits

from tfssl.evaluate.metrics import LOGITS

L2_VALUES: tuple[float, ...] = tuple(np.logspace(-6, 5, 45).tolist())
"""The papers' 45 values, four a decade."""

# Of the mean loss: below it the answers of a fit hardly change any more.
TOLERANCE, PRECISE = 1e-4, 1e-6
_ROUNDING = 1e-4
_STEPS, _PRECISE_STEPS = 100, 1_000
_CHUNK = 4_096  # rows at most at once: the logits of all would be memory of their own
_SMALL = 10**8  # multiplications of a step
_WIDEST = 4_096  # features up to which their covariance is worth its eigenvectors


@dataclasses.dataclass(frozen=True)
class Linear:
    """A linear classifier.

    Attributes:
      weights: `[F, C]`, W.
      bias: `[C]`.
      steps: L-BFGS steps that it took.
      converged: Whether no step was left that lowers the loss, in this arithmetic.
    """

    weights: np.ndarray
    bias: np.ndarray
    steps: int = 0
    converged: bool = True

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Returns `[n, C]` of features `[n, F]`."""
        return features @ self.weights + self.bias


@dataclasses.dataclass(frozen=True)
class Axes:
    """Coordinates in which the loss is nearly round, so that L-BFGS needs few steps.

    They change the way to the minimum and not the minimum: features less their mean
    (which the bias, that has no penalty, takes up), along the principal axes.

    Attributes:
      mean: float64 `[F]`.
      vectors: Principal axes `[F, F]` as columns; None: the features' own.
      variances: `[F]`, sums of squares along them.
    """

    mean: np.ndarray
    vectors: np.ndarray | None
    variances: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray, *, principal: bool = True) -> Axes:
        """Finds them.

        Args:
          features: float `[n, F]`.
          principal: Whether to look for principal axes, unless F is too large.
        """
        count, width = features.shape
        mean = features.mean(axis=0, dtype=np.float64)
        square = principal and width <= _WIDEST
        total = np.zeros((width, width) if square else width)
        for begin in range(0, count, _CHUNK):
            rows = features[begin : begin + _CHUNK] - mean.astype(features.dtype)
            total += rows.T @ rows if square else np.einsum("nf,nf->f", rows, rows)
        if not square:
            return cls(mean, None, total)
        variances, vectors = np.linalg.eigh(total.astype(features.dtype))
        return cls(mean, vectors, np.maximum(variances, 0).astype(np.float64))

    def scales(self, l2: float, classes: int) -> np.ndarray:
        """Returns `[F]`: one over the root of the curvature, were all classes alike."""
        curvature = l2 + self.variances / classes
        low = 1e-7 * float(curvature.max(initial=0)) or 1.0
        return 1 / np.sqrt(np.maximum(curvature, low))

    def turned(self, weights: np.ndarray, *, back: bool = False) -> np.ndarray:
        """Weights `[F, C]` along the axes as those of features, or the other way."""
        if self.vectors is None:
            return weights
        axes = self.vectors.T if back else self.vectors
        return axes @ weights.astype(axes.dtype)


def fit(
    features: np.ndarray,
    targets: np.ndarray,
    l2: float,
    *,
    classes: int,
    start: Linear | None = None,
    axes: Axes | None = None,
    tolerance: float = PRECISE,
    steps: int = _PRECISE_STEPS,
) -> Linear:
    """Minimises the loss at one L2 value.

    Memory beyond the features: 25 times W, and some million logits. Products
    are in the features' type, sums in float64.

    Args:
      features: float `[n, F]`, C-contiguous; a view of the first rows is fine.
      targets: int `[n]` in [0, classes); or int8 `[n, classes]`: 1 has the label, 0 has
        it not, -1 does not count.
      l2: At least 0.
      classes: C.
      start: Where to begin; None: zeros.
      axes: Of these features, or of nearly the same; None: made here, not principal.
      tolerance: Largest entry of the gradient at the end, along the axes, as a share of
        the gradient at zero.
      steps: Most steps.
    """
    count, width = features.shape
    shape = (width + 1, classes)
    kind = features.dtype
    axes = axes or Axes.of(features, principal=False)
    scales = axes.scales(l2, classes)[:, None]
    step = max(1, min(_CHUNK, LOGITS // classes))
    rise = np.sqrt(classes / count)  # of the bias, as `scales` of the weights
    first = np.zeros(shape)
    if start is not None:
        first[:-1] = axes.turned(start.weights, back=True) / scales
        first[-1] = (start.bias + axes.mean @ start.weights) / rise

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        both = flat.reshape(shape)
        along = both[:-1] * scales
        weights = axes.turned(along).astype(kind)
        bias = (both[-1] * rise - axes.mean @ weights).astype(kind)
        total, slope, sums = 0.0, np.zeros((width, classes)), np.zeros(classes)
        for begin in range(0, count, step):
            rows = features[begin : begin + step]
            logits = rows @ weights
            logits += bias
            total += _loss(logits, targets[begin : begin + step])
            slope += rows.T @ logits
            sums += logits.sum(axis=0, dtype=np.float64)
        slope -= np.outer(axes.mean, sums)
        slope = axes.turned(slope, back=True).astype(np.float64)
        gradient = np.empty(shape)
        gradient[:-1] = (slope + l2 * along) * scales
        gradient[-1] = sums * rise
        total += l2 / 2 * float((along**2).sum())
        return total / count, gradient.ravel() / count

    at_zero = np.abs(objective(np.zeros(first.size))[1]).max()
    limit = tolerance * float(at_zero)
    # Threads that wait for each other cost more than small products.
    threads = 1 if count * width * classes < _SMALL else None
    with threadpool_limits(threads, "blas"):
        found = optimize.minimize(
            objective,
            first.ravel(),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": steps, "maxfun": 2 * steps, "gtol": limit,
                     "ftol": 64 * np.finfo(float).eps, "maxls": 30},
        )  # fmt: skip
    both = found.x.reshape(shape)
    weights = axes.turned(both[:-1] * scales).astype(kind)
    bias = (both[-1] * rise - axes.mean @ weights).astype(kind)
    # Status 1: steps ran out. 2: the line search ended in rounding.
    small = bool(np.abs(found.jac).max() <= max(limit, _ROUNDING * at_zero))
    converged = found.status == 0 or (found.status == 2 and small)
    return Linear(weights, bias, int(found.nit), converged)


def path(
    features: np.ndarray,
    targets: np.ndarray,
    score: Callable[[Linear], float],
    *,
    classes: int,
    values: Sequence[float] = L2_VALUES,
    progress: Callable[[int], None] = lambda done: None,
) -> tuple[float, Linear, list[float]]:
    """Fits along L2 values, each from the one before, and chooses by held-out images.

    Args:
      features: `[n, F]`.
      targets: As of `fit`.
      score: A classifier to what is to be large, on the images to choose by.
      classes: C.
      values: L2 values; they are tried from the strongest to the weakest.
      progress: Told how many are done.

    Returns:
      The chosen value (of equally good ones the strongest), its classifier, and the
      score of each value in the order of `values`.
    """
    axes = Axes.of(features)
    scores: dict[float, float] = {}
    best: tuple[float, float, Linear] | None = None
    last = None
    for done, value in enumerate(sorted(values, reverse=True), 1):
        last = fit(
            features,
            targets,
            value,
            classes=classes,
            start=last,
            axes=axes,
            tolerance=TOLERANCE,
            steps=_STEPS,
        )
        scores[value] = score(last)
        if best is None or scores[value] > best[0]:
            best = scores[value], value, last
        progress(done)
    if best is None:
        raise ValueError("values is empty")
    return best[1], best[2], [scores[value] for value in values]


def chosen(
    features: np.ndarray,
    targets: np.ndarray,
    first: int,
    score: Callable[[Linear], float],
    *,
    classes: int,
    values: Sequence[float] = L2_VALUES,
) -> tuple[float, Linear, list[float]]:
    """Chooses the L2 value by the last rows, and fits again to all.

    Args:
      features: `[n, F]`.
      targets: As of `fit`.
      first: Rows that stand before those to choose by.
      score: As of `path`, on these.
      classes: C.
      values: L2 values.

    Returns:
      What `path` does, its classifier trained on all rows.
    """
    l2, start, scores = path(
        features[:first], targets[:first], score, classes=classes, values=values
    )
    return l2, fit(features, targets, l2, classes=classes, start=start), scores


def _loss(logits: np.ndarray, targets: np.ndarray) -> float:
    """The sum of the losses; `logits` become their gradient."""
    if targets.ndim == 1:
        rows = np.arange(len(targets))
        logits -= logits.max(axis=1, keepdims=True)
        right = logits[rows, targets].sum(dtype=np.float64)
        np.exp(logits, out=logits)
        sums = logits.sum(axis=1, keepdims=True)
        logits /= sums
        logits[rows, targets] -= 1
        return float(np.log(sums).sum(dtype=np.float64) - right)
    asked = targets >= 0
    losses = np.logaddexp(0, logits) - logits * (targets == 1)
    total = losses.sum(dtype=np.float64, where=asked)
    np.copyto(logits, (0.5 * np.tanh(0.5 * logits) + 0.5 - (targets == 1)) * asked)
    return float(total)
