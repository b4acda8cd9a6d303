import numpy as np
import pytest

from tfssl.data.similar import equal_groups, near_pairs


def brute(hashes, distance):
    numbers = [int(h) for h in hashes]
    return [
        [a, b]
        for a in range(len(numbers))
        for b in range(a + 1, len(numbers))
        if bin(numbers[a] ^ numbers[b]).count("1") <= distance
    ]


@pytest.mark.parametrize("distance", [0, 1, 4, 10])
def test_near_pairs_are_all_pairs(distance):
    rng = np.random.default_rng(distance)
    centres = rng.integers(0, 2**63, 20, np.uint64) * np.uint64(2)
    hashes = set(map(int, centres))
    for centre in map(int, centres):
        for flips in range(1, 13):
            for bit in rng.choice(64, flips, replace=False):
                centre ^= 1 << int(bit)
            hashes.add(centre)
    hashes = np.array(sorted(hashes), np.uint64)
    expected = brute(hashes, distance)
    assert near_pairs(hashes, distance).tolist() == expected
    assert bool(expected) == (distance > 0)


def test_equal_groups():
    keys = np.array([b"b", b"a", b"b", b"c", b"a", b"b"])
    groups = [sorted(group.tolist()) for group in equal_groups(keys)]
    assert groups == [[1, 4], [0, 2, 5]]
    assert equal_groups(np.array([1, 2])) == [] == equal_groups(np.array([]))
