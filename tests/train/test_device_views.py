"""Views cut on the device are those that the host cuts, on any share of the batch."""

import numpy as np
import pytest
import tensorflow as tf

from tests.tiny import tiny
from tfssl import build
from tfssl.core import collectives
from tfssl.data import Folder, in_memory, is_small, parse_split, training
from tfssl.train import make_device_views

BATCH, SIZE, STEPS = 12, 20, 2


@pytest.fixture
def source(tmp_path, files):
    files.tree(tmp_path, ["a", "b"], 10, size=(22, 18))
    kept = in_memory(Folder(str(tmp_path), parse_split("all")))
    assert is_small(kept, SIZE)
    return kept


def batches(source, recipe, cut, replicas, parts):
    settings = {"global_batch": BATCH, "replica_batch": BATCH // replicas}
    made = training(
        source, recipe, seed=3, start_step=1, image_size=SIZE, micro_batches=parts,
        cut=cut, **settings,
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
        lambda views, step, part: views,
        seed=3,
        global_batch=BATCH,
        replica_batch=rows,
        image_size=SIZE,
        micro_batches=parts,
    )
    host, device = (
        batches(source, recipe, cut, replicas, parts) for cut in (True, False)
    )
    of_part = rows // parts
    for number, (want, got) in enumerate(zip(host, device, strict=True)):
        rank.assign(number % replicas)
        step = tf.constant(1 + number // replicas, tf.int64)
        for key in ("label", "id", "index"):
            np.testing.assert_array_equal(got[key], want[key])
        np.testing.assert_array_equal(got["views"], want["index"])
        for part in range(parts):
            own = slice(part * of_part, (part + 1) * of_part)
            views = make(got["views"][own], step, part).numpy().astype(int)
            assert views.shape == (of_part, 2, SIZE, SIZE, 3)
            difference = np.abs(views - want["views"][own].numpy())
            assert difference.max() <= 1 and np.mean(difference > 0) < 1e-2


def test_a_run_takes_its_images_there(source):
    config = tiny("simclr", image_size=SIZE, batch_size=BATCH)
    strategy = build.strategy(config)
    make = build.views_of_batches(config, source, BATCH, strategy)
    assert build.on_device(config, source)
    given = build.training_batches(
        strategy, source, build.recipe(config), seed=config.seed, start_step=0,
        global_batch=BATCH, image_size=SIZE, cut=False,
    )  # fmt: skip
    batch = next(given)
    views = make(batch["views"], tf.constant(0, tf.int64))
    assert len(views) == 2 and views[0].shape == (BATCH, SIZE, SIZE, 3)
    assert not np.allclose(views[0], views[1])
