"""Views do not depend on who makes them: host or device, lanes, share of the batch."""

import numpy as np
import pytest
import tensorflow as tf

from tests.tiny import tiny
from tfssl import build
from tfssl.augment import crops, named
from tfssl.core import collectives
from tfssl.data import Folder, Shapes, in_memory, is_small, parse_split, training
from tfssl.errors import DataError
from tfssl.train import make_device_views, make_photometry

BATCH, SIZE, STEPS = 12, 20, 2


@pytest.fixture
def source(tmp_path, files):
    files.tree(tmp_path, ["a", "b"], 10, size=(22, 18))
    kept = in_memory(Folder(str(tmp_path), parse_split("all")))
    assert is_small(kept, SIZE)
    return kept


def batches(source, recipe, cutter, replicas, parts):
    settings = {"global_batch": BATCH, "replica_batch": BATCH // replicas}
    made = training(
        source, recipe, seed=3, start_step=1, image_size=SIZE, micro_batches=parts,
        cutter=cutter, **settings,
    )  # fmt: skip
    return list(made.take(STEPS * replicas))


@pytest.mark.parametrize(
    ("name", "replicas", "parts"),
    [
        ("moco_cifar", 2, 2),
        pytest.param("simclr_cifar", 1, 1, marks=pytest.mark.slow),
        pytest.param("simclr_cifar", 2, 1, marks=pytest.mark.slow),
        pytest.param("simclr_cifar", 1, 3, marks=pytest.mark.slow),
    ],
)
def test_the_device_cuts_what_the_host_cuts(source, name, replicas, parts, monkeypatch):
    recipe = build.recipe(tiny("simclr", augment=name))
    rank = tf.Variable(0)
    monkeypatch.setattr(collectives, "replica_id", lambda: rank)
    rows = BATCH // replicas
    make = make_device_views(
        tf.Variable(source.pixels()),
        recipe,
        lambda batch, step, part: batch["views"],
        seed=3,
        global_batch=BATCH,
        replica_batch=rows,
        image_size=SIZE,
        micro_batches=parts,
    )
    host, device = (
        batches(source, recipe, cutter, replicas, parts)
        for cutter in (crops.TENSORFLOW, crops.ON_DEVICE)
    )
    of_part = rows // parts
    for number, (want, got) in enumerate(zip(host, device, strict=True)):
        rank.assign(number % replicas)
        step = tf.constant(1 + number // replicas, tf.int64)
        assert "views" not in got
        for key in ("label", "id", "index"):
            np.testing.assert_array_equal(got[key], want[key])
        for part in range(parts):
            own = slice(part * of_part, (part + 1) * of_part)
            rows_of_part = {key: value[own] for key, value in got.items()}
            views = make(rows_of_part, step, part).numpy().astype(int)
            assert views.shape == (of_part, 2, SIZE, SIZE, 3)
            difference = np.abs(views - want["views"][own].numpy())
            assert difference.max() <= 1 and np.mean(difference > 0) < 1e-2


@pytest.mark.parametrize("on_device", [True, False])
def test_batches_and_views_agree_on_who_cuts(source, on_device):
    config = tiny("simclr", image_size=SIZE, batch_size=BATCH)
    strategy = build.strategy(config)
    given = build.pretraining_input(config, source, strategy, on_device=on_device)
    batch = next(given.batches(0))
    assert ("views" in batch) != on_device
    views = given.views(batch, tf.constant(0, tf.int64))
    assert len(views) == 2 and views[0].shape == (BATCH, SIZE, SIZE, 3)
    assert not np.allclose(views[0], views[1])


def test_photographs_are_not_cut_on_the_device():
    source = Shapes(parse_split("train"), examples=BATCH, image_size=40)
    recipe = build.recipe(tiny("simclr"))
    with pytest.raises(DataError, match="up to 32 pixels, in memory; try another cut"):
        batches(source, recipe, crops.ON_DEVICE, 1, 1)
    with pytest.raises(ValueError, match="cutter 'device' for an image on the host"):
        crops.show(None, tf.zeros([2, 6], tf.int32), recipe, 8, crops.ON_DEVICE)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["simclr_cifar", "byol", "figure5:noise+crop"])
def test_lanes_and_batched_form_give_the_same_views(name):
    images = np.random.default_rng(0).integers(0, 256, (5, 2, 24, 24, 3), np.uint8)
    settings = {"seed": 3, "global_batch": 5, "replica_batch": 5}

    def views(lanes):
        return make_photometry(named(name), lanes=lanes, **settings)(
            {"views": tf.constant(images)}, tf.constant(7, tf.int64)
        )

    one, three, batched = views(1), views(3), views(0)
    for v in range(2):
        np.testing.assert_array_equal(one[v], three[v])
        np.testing.assert_allclose(one[v], batched[v], atol=3e-5)
        assert np.ptp(one[v]) > 0.1
