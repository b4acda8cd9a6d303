"""Parts of a source: disjoint, complete, spread evenly."""

import numpy as np
import pytest
import tensorflow as tf

from tfssl.data import (
    Shapes,
    oversampled,
    parse_split,
    require_labels,
    spread,
    tenth,
    without_tenth,
)
from tfssl.data.subset import chosen
from tfssl.errors import DataError


def shapes(count):
    return Shapes(parse_split("train"), examples=count, image_size=16)


def ids(source):
    places = range(source.num_examples)
    return [int(source.example(tf.constant(i, tf.int64))["id"]) for i in places]


@pytest.mark.parametrize("count", [10, 19, 20, 57])
def test_tenth_and_rest_are_disjoint_and_complete(count):
    whole = shapes(count)
    held_out, rest = ids(tenth(whole)), ids(without_tenth(whole))
    assert len(held_out) == count // 10
    assert sorted(held_out + rest) == sorted(ids(whole))


def test_labels_follow_the_examples():
    part = tenth(shapes(57))
    found = [
        int(part.example(tf.constant(i, tf.int64))["label"])
        for i in range(part.num_examples)
    ]
    np.testing.assert_array_equal(part.labels, found)


def test_spread_reaches_from_end_to_end():
    assert ids(spread(shapes(40), 4)) == [0, 10, 20, 30]
    whole = shapes(40)
    assert spread(whole, 0) is whole and spread(whole, 99) is whole


def test_too_few_for_a_tenth_says_what_to_do():
    with pytest.raises(DataError, match="linear_learning_rates"):
        tenth(shapes(9))


def test_missing_labels_name_the_flag():
    source = shapes(10)
    source.num_classes = None
    with pytest.raises(DataError, match="mode=linear"):
        require_labels(source, "mode=linear")


def test_oversampled_repeats_rare_classes_in_whole_rounds():
    whole = shapes(64)
    of_class = [np.flatnonzero(whole.labels == c) for c in range(10)]
    # 7 of class 3, 3 of class 1, 1 of class 8, none of the others.
    kept = np.concatenate([of_class[8][:1], of_class[3][:7], of_class[1][:3]])
    most = len(of_class[3][:7])
    fair = oversampled(chosen(whole, kept, "some"))
    counts = np.bincount(fair.labels, minlength=10)
    assert counts[[1, 3, 8]].tolist() == [most] * 3 and counts.sum() == 3 * most
    times = np.unique(ids(fair), return_counts=True)[1]
    assert sorted(times)[-1] == most and fair.num_examples == 3 * most
    rare = [i for i, label in zip(ids(fair), fair.labels, strict=True) if label == 1]
    assert sorted(np.unique(rare, return_counts=True)[1]) == [2, 2, 3]
