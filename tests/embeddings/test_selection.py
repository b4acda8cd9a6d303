"""Choosing what to label, against slow NumPy written from the papers."""

import numpy as np
import pytest

from tfssl.embeddings import selection
from tfssl.embeddings.principal import normalized
from tfssl.embeddings.selection import most_typical, select
from tfssl.errors import DataError

NONE = np.array([], np.int64)


def clusters(sizes, d=6, spread=0.15, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((len(sizes), d))
    of = np.repeat(np.arange(len(sizes)), sizes)
    rows = centres[of] + spread * rng.standard_normal((len(of), d))
    return rows.astype(np.float32), of


def greedy(unit, count, labelled):
    """Sener and Savarese, algorithm 1, with every distance anew."""
    unit = unit.astype(np.float64)
    centres, chosen = list(labelled), []
    if not centres:
        centres = [int((unit @ unit.mean(0)).argmax())]
        chosen = centres[:]
    while len(chosen) < count:
        distance = np.linalg.norm(unit[:, None] - unit[centres][None], axis=2).min(1)
        distance[centres] = -1
        chosen.append(int(distance.argmax()))
        centres.append(chosen[-1])
    return chosen


@pytest.mark.parametrize("labelled", [[], [3], [0, 40, 41, 42, 100]])
@pytest.mark.parametrize("spread", [0.02, 0.15, 3.0])
def test_coverage_is_k_centre_greedy(labelled, spread):
    rows, _ = clusters([40, 30, 20, 10, 10, 5], spread=spread)
    found = select(rows, 30, "coverage", labelled=np.array(labelled, int))
    assert found.tolist() == greedy(normalized(rows), 30, labelled)


@pytest.mark.parametrize("data", ["clusters", "copies", "alike", "line"])
def test_coverage_is_the_same_by_parts(monkeypatch, data):
    rng = np.random.default_rng(1)
    rows = {
        "clusters": clusters([90, 60, 40, 10], spread=0.3)[0],
        "copies": np.repeat(rng.standard_normal((40, 6)), 5, 0),
        "alike": np.ones((200, 3)),
        "line": np.stack([np.ones(200), np.linspace(-1, 1, 200) ** 3], 1),
    }[data]
    unit = normalized(np.round(rows, 2))
    whole = select(unit, 60, "coverage", labelled=NONE)
    compared = []
    real = selection._compare

    def spy(unit, near, centres):
        compared.append(len(centres))
        real(unit, near, centres)

    monkeypatch.setattr(selection, "_compare", spy)
    monkeypatch.setattr(selection, "FARTHEST", 8)
    parts = select(unit, 60, "coverage", labelled=NONE)
    assert sum(compared) == 60 and 2 < len(compared) < 30

    def radii(chosen):
        """Each choice's distance from those before it."""
        cosines = unit[chosen] @ unit[chosen].T
        return [1 - cosines[i, :i].max() for i in range(1, len(chosen))]

    # Rows as far as each other may come in another order.
    np.testing.assert_allclose(radii(parts), radii(whole), atol=1e-6)
    if data == "clusters":
        np.testing.assert_array_equal(parts, whole)


def test_coverage_visits_every_far_cluster_first():
    rows, of = clusters([200, 50, 20, 3, 1], spread=0.01)
    assert sorted(of[select(rows, 5, "coverage", labelled=NONE)]) == [0, 1, 2, 3, 4]


def typiclust(features, of, labelled, budget):
    """avihu111/TypiClust, deep-al/pycls/al/typiclust.py, in NumPy."""
    of = of.copy()
    ids, sizes = np.unique(of, return_counts=True)
    existing = np.array([(of[labelled] == i).sum() for i in ids], int)
    table = [(e, -s, i) for e, s, i in zip(existing, sizes, ids, strict=True) if s > 5]
    table.sort()
    of[labelled] = -1
    chosen = []
    for turn in range(budget):
        members = np.flatnonzero(of == table[turn % len(table)][2])
        own = features[members].astype(np.float64)
        k = min(20, len(members) // 2)
        square = ((own[:, None] - own[None]) ** 2).sum(-1)
        near = np.sort(square, axis=1)[:, 1 : k + 1].mean(1)
        chosen.append(members[(1 / (near + 1e-5)).argmax()])
        of[chosen[-1]] = -1
    return chosen


@pytest.mark.parametrize("labelled", [[], [0, 1, 50, 95]])
def test_typical_is_typiclust_given_its_clusters(labelled):
    rows, of = clusters([45, 30, 25, 12, 5])
    unit = normalized(rows)
    labelled = np.array(labelled, int)
    truth = typiclust(unit, of, labelled, 4)  # a turn over the four large clusters
    assert most_typical(unit, of, 4, labelled).tolist() == truth


def test_typical_takes_one_of_each_cluster():
    rows, of = clusters([50, 40, 30, 20], spread=0.05)
    found = select(rows, 4, "typical", labelled=NONE)
    assert of[found].tolist() == [0, 1, 2, 3]  # the largest first


def test_clusters_with_labels_come_last():
    rows, of = clusters([50, 40, 30, 20], spread=0.05)
    unit = normalized(rows)
    found = most_typical(unit, of, 3, np.array([0, 1, 95]))
    assert of[found].tolist() == [1, 3, 2]


def test_small_clusters_only_when_nothing_else_is_left():
    rows, of = clusters([8, 3])
    found = most_typical(normalized(rows), of, 11, NONE)
    assert sorted(found) == list(range(11))
    assert set(of[found[:8]]) == {0}


@pytest.mark.parametrize("strategy", selection.STRATEGIES)
def test_distinct_never_labelled_the_same_again(strategy):
    rows, _ = clusters([60, 30, 10])
    labelled = np.array([1, 2, 61])
    found = select(rows, 50, strategy, labelled=labelled, seed=3)
    assert len(set(found)) == 50 and not set(found) & set(labelled)
    again = select(rows, 50, strategy, labelled=labelled, seed=3)
    np.testing.assert_array_equal(found, again)


@pytest.mark.parametrize("strategy", selection.STRATEGIES)
def test_everything_that_is_left_can_be_chosen(strategy):
    rows, _ = clusters([9, 4])
    found = select(rows, 11, strategy, labelled=np.array([0, 12]))
    assert sorted(found) == list(range(1, 12))


@pytest.mark.parametrize("count", [0, 12])
def test_more_than_there_are_is_refused(count):
    rows, _ = clusters([9, 4])
    with pytest.raises(DataError, match="a number from 1 to 11"):
        select(rows, count, "random", labelled=np.array([0, 1]))


def test_the_draw_depends_on_the_seed():
    rows, _ = clusters([90])
    one, two = (select(rows, 9, "random", labelled=NONE, seed=s) for s in (0, 1))
    assert set(one) != set(two)
