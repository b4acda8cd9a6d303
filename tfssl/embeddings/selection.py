"""Which images to label next: coverage, typical ones, or a random draw.

All take unit vectors `[n, D]` in memory and rows that are labelled already, and return
rows in the order of choice, so that the first 20 of 100 are a choice of 20 as well
(for `typical` only where the number of clusters is the same).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tfssl.embeddings.neighbours import Exact
from tfssl.embeddings.principal import normalized
from tfssl.errors import DataError, message, unknown

NEIGHBOURS = 20  # of the typicality; TypiClust's K_NN
SMALLEST = 5  # clusters of at most so many are passed over: MIN_CLUSTER_SIZE
FARTHEST = 1_024  # rows to choose among before all are compared: at first
CLUSTERS = 500  # MAX_NUM_CLUSTERS, for the 50,000 images of CIFAR
ROWS_A_CLUSTER = 100  # the same for any number of rows


def select(
    vectors: np.ndarray,
    count: int,
    strategy: str,
    *,
    labelled: np.ndarray,
    seed: int = 0,
) -> np.ndarray:
    """Chooses rows to label.

    Args:
      vectors: `[n, D]`, of any length; they are normalised.
      count: How many.
      strategy: A key of `STRATEGIES`.
      labelled: Rows that are labelled already; never chosen, and taken into account.
      seed: Of what is drawn.

    Returns:
      int64 `[count]`, distinct, in the order of choice.

    Raises:
      DataError: There are not so many rows left, or no such strategy.
    """
    if strategy not in STRATEGIES:
        raise DataError(unknown("strategy", strategy, STRATEGIES))
    labelled = np.unique(np.asarray(labelled, np.int64))
    require_left(count, len(vectors) - len(labelled))
    return STRATEGIES[strategy](normalized(vectors), count, labelled, seed)


def require_left(count: int, left: int) -> None:
    """Refuses to choose more than there is.

    Args:
      count: How many to choose.
      left: Rows that are not labelled.

    Raises:
      DataError: There are not so many, or none is to be chosen.
    """
    if not 0 < count <= left:
        raise DataError(
            message(
                f"select={count} of {left} images that are not labelled",
                f"a number from 1 to {left}" if left else "images without a label",
                f"select={min(count, left) or 1}"
                if left
                else "embedding more (embed_split)",
            )
        )


def coverage(
    unit: np.ndarray, count: int, labelled: np.ndarray, seed: int
) -> np.ndarray:
    """K-centre greedy: always the row that is farthest from all chosen ones.

    Sener and Savarese 2018, algorithm 1: at most twice the smallest possible radius.
    It begins with the labelled rows, or with the row nearest the mean. Distances only
    fall as rows are chosen, so among the rows that are farthest now one chooses until
    all of them are nearer than every other row was; only then are all rows compared,
    with all that was chosen by one product of matrices. That changes no choice.

    Args:
      unit: float32 `[n, D]`, of length 1.
      count: How many.
      labelled: Rows with a label.
      seed: Not used; nothing is drawn.

    Returns:
      int64 `[count]`.
    """
    del seed
    near = np.full(len(unit), -np.inf, np.float32)  # cosine to the nearest centre
    first = labelled if len(labelled) else [(unit @ unit.mean(axis=0)).argmax()]
    chosen = [np.asarray([] if len(labelled) else first, np.int64)]
    left = count - len(chosen[0])
    _compare(unit, near, np.asarray(first, np.int64))
    size = FARTHEST
    while left:
        rows, others = _farthest(near, size)
        own, cosines = unit[rows], near[rows]
        found: list[int] = []
        while len(found) < left:
            place = int(cosines.argmin())
            if (cosines[place], rows[place]) > others:
                break
            found.append(rows[place])
            np.maximum(cosines, own @ own[place], out=cosines)
            cosines[place] = np.inf
        chosen.append(np.array(found, np.int64))
        left -= len(found)
        _compare(unit, near, chosen[-1])
        # About as much time for the choices as for comparing with all rows.
        work = len(found) * size
        size = 2 * size if 2 * work < len(unit) else size
        size = size // 2 if work > 4 * len(unit) and size > FARTHEST else size
    return np.concatenate(chosen)


def _compare(unit: np.ndarray, near: np.ndarray, centres: np.ndarray) -> None:
    """Raises `near` to the cosines of new centres, which are never chosen again."""
    for i in range(0, len(centres), 1_024):
        columns = np.ascontiguousarray(unit[centres[i : i + 1_024]]).T
        for start in range(0, len(unit), 8_192):
            part = near[start : start + 8_192]
            cosines = unit[start : start + 8_192] @ columns
            np.maximum(part, cosines.max(axis=1), out=part)
    near[centres] = np.inf


def _farthest(near: np.ndarray, size: int) -> tuple[np.ndarray, tuple[float, int]]:
    """The `size` rows of lowest cosine, ascending, and cosine and row of the next."""
    if size >= len(near):
        return np.arange(len(near)), (np.inf, len(near))
    limit = np.partition(near, size)[size]
    below, equal = np.flatnonzero(near < limit), np.flatnonzero(near == limit)
    taken = size - len(below)
    rows = np.sort(np.concatenate([below, equal[:taken]]))
    return rows, (float(limit), int(equal[taken]))


def typical(
    unit: np.ndarray, count: int, labelled: np.ndarray, seed: int
) -> np.ndarray:
    """TypiClust: the most typical row of each cluster that has no label yet.

    Hacohen, Dekel and Weinshall 2022, "Active Learning on a Budget". As many clusters
    as rows will be labelled, at most 500 or one for 100 rows; in turns, first those
    with the fewest labels, of these the largest; of each the row with the highest
    typicality: one over the mean squared distance to its 20 nearest in the cluster.

    Args:
      unit: float32 `[n, D]`, of length 1.
      count: How many.
      labelled: Rows with a label.
      seed: Of the clustering.

    Returns:
      int64 `[count]`.
    """
    most = max(CLUSTERS, len(unit) // ROWS_A_CLUSTER)
    clusters = min(count + len(labelled), most, len(unit))
    of = cluster(unit, clusters, seed)
    return most_typical(unit, of, count, labelled)


def most_typical(
    unit: np.ndarray, of: np.ndarray, count: int, labelled: np.ndarray
) -> np.ndarray:
    """The choice of `typical`, given the clusters.

    Args:
      unit: float32 `[n, D]`, of length 1.
      of: int `[n]`, each row's cluster.
      count: How many, at most as many as are not labelled.
      labelled: Rows with a label.

    Returns:
      int64 `[count]`.
    """
    is_labelled = np.zeros(len(unit), bool)
    is_labelled[labelled] = True
    sizes = np.bincount(of)
    labels = np.bincount(of[labelled], minlength=len(sizes))
    small = sizes <= SMALLEST
    order = np.lexsort((-sizes, labels, small))
    queues: dict[int, list[int]] = {}
    members = np.split(np.argsort(of, kind="stable"), np.cumsum(sizes)[:-1])
    chosen: list[int] = []
    large = order[: np.count_nonzero(~small)]
    # Small clusters are asked only when the others have nothing left.
    for turn in (large, order):
        taken = -1
        while len(chosen) < count and taken != len(chosen):
            taken = len(chosen)
            for number in turn:
                if number not in queues:
                    queues[number] = _by_typicality(unit, members[number], is_labelled)
                if queues[number] and len(chosen) < count:
                    chosen.append(queues[number].pop())
    return np.array(chosen, np.int64)


def _by_typicality(
    unit: np.ndarray, members: np.ndarray, is_labelled: np.ndarray
) -> list[int]:
    """The rows of a cluster without a label, the most typical last."""
    rows = members[~is_labelled[members]]
    k = min(NEIGHBOURS, len(rows) // 2)
    if k < 1:
        return [int(row) for row in rows]
    own = unit[rows]
    _, cosines = Exact(_InMemory(own))(own, k + 1)
    distance = (2 - 2 * cosines[:, 1:]).mean(axis=1)  # the first is the row itself
    return [int(row) for row in rows[np.lexsort((-rows, -distance))]]


class _InMemory:
    def __init__(self, rows: np.ndarray):
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def blocks(self) -> list[tuple[int, np.ndarray]]:
        return [(0, self._rows)]


def cluster(unit: np.ndarray, clusters: int, seed: int) -> np.ndarray:
    """k-means, int `[n]`: each row's cluster, all of them in use.

    Lloyd's up to 50 clusters, in mini-batches beyond, as TypiClust does it.
    """
    from sklearn.cluster import KMeans, MiniBatchKMeans

    if clusters <= 50 and len(unit) <= 100_000:
        found = KMeans(clusters, n_init=1, random_state=seed)
    else:
        found = MiniBatchKMeans(
            clusters,
            batch_size=max(5000, 2 * clusters),
            n_init=1,
            max_iter=20,
            init_size=3 * clusters,
            init="k-means++" if clusters <= 1000 else "random",
            random_state=seed,
        )
    _, of = np.unique(found.fit_predict(unit), return_inverse=True)
    return of


def random(unit: np.ndarray, count: int, labelled: np.ndarray, seed: int) -> np.ndarray:
    """A draw without replacement, int64 `[count]`."""
    rest = np.setdiff1d(np.arange(len(unit)), labelled)
    return np.random.default_rng(seed).permutation(rest)[:count]


STRATEGIES: dict[str, Callable[[np.ndarray, int, np.ndarray, int], np.ndarray]] = {
    "coverage": coverage,
    "typical": typical,
    "random": random,
}
"""`--strategy` to function of unit vectors, count, labelled rows, seed."""
