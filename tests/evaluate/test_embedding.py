"""A data set as shards: every example once, in order, whatever the sizes are."""

import numpy as np
import pytest
import tensorflow as tf

from tfssl.augment import eval_transform, named
from tfssl.data import open_source
from tfssl.errors import DivergenceError
from tfssl.evaluate.embedding import encoded_shards

TRANSFORM = eval_transform(named("simclr_cifar"))


def means(images):
    """Stands for an encoder: tells images apart, and rows of one array by a second."""
    return {
        "features": tf.reduce_mean(images, axis=[1, 2]),
        "probabilities": images[:, 0, 0, :2],
    }


def shards(source, wanted, encode=means, **more):
    options = {"image_size": 16, "batch": 8, **more}
    return dict(encoded_shards(encode, source, TRANSFORM, wanted, **options))


def whole(source):
    return shards(source, {0: (0, source.num_examples)}, batch=source.num_examples)[0]


@pytest.fixture(scope="module")
def drawn():
    return open_source("shapes:50", "train", image_size=16)


@pytest.mark.parametrize(
    "wanted",
    [
        {0: (0, 50)},
        {k: (k * 3, min(k * 3 + 3, 50)) for k in range(17)},  # smaller than a batch
        {0: (0, 20), 1: (20, 40), 2: (40, 50)},  # larger, and no multiple of it
        {1: (20, 40)},  # one in the middle is missing
        {0: (0, 5), 7: (35, 40)},
    ],
)
def test_shards_hold_the_rows_of_their_examples(drawn, wanted):
    all_rows = whole(drawn)
    found = shards(drawn, wanted)
    assert list(found) == list(wanted)
    for number, (start, stop) in wanted.items():
        part = found[number]
        assert part.ids.tolist() == drawn.ids[start:stop].tolist()
        assert part.labels.tolist() == drawn.labels[start:stop].tolist()
        assert part.keys == [drawn.where(i) for i in range(start, stop)]
        for name, array in part.arrays.items():
            np.testing.assert_allclose(
                array, all_rows.arrays[name][start:stop], atol=1e-6
            )


def test_progress_counts_every_image_once(drawn):
    counts = []
    shards(drawn, {0: (0, 50)}, progress=counts.append)
    assert counts[-1] == 50 and counts == sorted(counts)


def test_unreadable_files_are_named_and_have_no_row(tmp_path, files):
    good, bad = files.hostile(tmp_path)
    source = open_source(f"folder:{tmp_path}", "all", image_size=16)
    found = shards(source, {0: (0, 5), 1: (5, source.num_examples)})
    keys = [key for part in found.values() for key in part.keys]
    lost = dict(row for part in found.values() for row in part.unreadable)
    assert sorted(keys) == [str(tmp_path / name) for name in good]
    assert sorted(lost) == [str(tmp_path / name) for name in bad]
    assert lost[str(tmp_path / "empty.jpg")] == "empty file"
    assert all(len(p) == len(p.arrays["features"]) for p in found.values())


def test_nan_is_no_vector(drawn):
    def broken(images):
        return {"features": tf.reduce_mean(images, axis=[1, 2]) * np.nan}

    with pytest.raises(DivergenceError, match="NaN"):
        shards(drawn, {0: (0, 50)}, broken)
