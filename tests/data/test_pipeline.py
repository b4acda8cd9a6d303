import os

import numpy as np
import pytest
import tensorflow as tf

from tfssl.augment import EVAL_TRANSFORMS, RECIPES, named
from tfssl.data import Folder, Shapes, inference, parse_split, training
from tfssl.data.drawing import class_of
from tfssl.errors import DataError

RECIPE = RECIPES["simclr_cifar"]
EVAL = EVAL_TRANSFORMS["simclr"]
SIZE, BATCH = 16, 8


@pytest.fixture(scope="module")
def source():
    return Shapes(parse_split("train"), examples=21, image_size=SIZE)


def stream_of(source, *, seed=3, start=0, replica=BATCH, **rows):
    return training(
        source, RECIPE, seed=seed, start_step=start, global_batch=BATCH,
        replica_batch=replica, image_size=SIZE, **rows,
    )  # fmt: skip


def stream(source, batches, **how):
    return list(stream_of(source, **how).take(batches).as_numpy_iterator())


def joined(batches):
    return {key: np.concatenate([b[key] for b in batches]) for key in batches[0]}


def assert_equal(a, b):
    assert a.keys() == b.keys()
    for key in a:
        np.testing.assert_array_equal(a[key], b[key])


def test_shapes_and_types_are_static(source):
    spec = training(
        source, RECIPE, seed=0, start_step=0, global_batch=8, replica_batch=4,
        image_size=SIZE,
    ).element_spec  # fmt: skip
    assert spec["views"].shape == (4, 2, SIZE, SIZE, 3)
    assert spec["views"].dtype == tf.uint8
    assert spec["label"].shape == spec["id"].shape == spec["index"].shape == (4,)
    assert spec["label"].dtype == spec["id"].dtype == tf.int64


def test_both_branches_of_figure_5_start_from_one_crop(source):
    for recipe, alike in ((named("figure5:rotate"), True), (RECIPE, False)):
        batches = training(
            source, recipe, seed=3, start_step=0, global_batch=BATCH,
            replica_batch=BATCH, image_size=SIZE,
        )  # fmt: skip
        views = next(batches.as_numpy_iterator())["views"]
        assert (views[:, 0] == views[:, 1]).all() == alike


def test_an_epoch_shows_every_example_once(source):
    ids = joined(stream(source, 21))["id"]  # 168 = 8 epochs of 21
    epochs = ids.reshape(8, 21)
    assert (np.sort(epochs, 1) == np.arange(21)).all()
    assert len({tuple(epoch) for epoch in epochs}) == 8
    labels = joined(stream(source, 21))["label"]
    np.testing.assert_array_equal(labels, class_of(ids))


def test_rows_name_the_example_that_they_show(source):
    found = joined(stream(source, 21))
    np.testing.assert_array_equal(np.asarray(source.ids)[found["index"]], found["id"])


def test_pure_function_of_seed_and_step(source):
    whole = stream(source, 7)
    assert_equal(joined(stream(source, 7)), joined(whole))
    assert_equal(joined(stream(source, 3, start=4)), joined(whole[4:]))
    other = joined(stream(source, 7, seed=4))
    assert (other["id"] != joined(whole)["id"]).any()


def test_views_differ_within_and_between_epochs(source):
    batches = joined(stream(source, 21))
    views = batches["views"]
    assert (views[:, 0] != views[:, 1]).any((1, 2, 3)).all()
    for number in range(21):
        same = views[batches["id"] == number][:, 0]
        assert len({view.tobytes() for view in same}) == len(same)


@pytest.mark.parametrize("replica", [4, 2, 1])
def test_replicas_get_the_rows_of_one_replica_in_rank_order(source, replica):
    parts = stream(source, 3 * BATCH // replica, replica=replica)
    assert_equal(joined(parts), joined(stream(source, 3)))


def test_workers_get_disjoint_rows_that_make_the_whole(source):
    whole = joined(stream(source, 5))
    shares = [(0, 4), (4, 2), (6, 2)]  # of unequal size
    parts = [
        joined(stream(source, 5 * rows // 2, replica=2, first_row=first, rows=rows))
        for first, rows in shares
    ]
    for step in range(5):
        together = {
            key: np.concatenate(
                [
                    part[key][step * rows : (step + 1) * rows]
                    for part, (_, rows) in zip(parts, shares, strict=True)
                ]
            )
            for key in whole
        }
        expected = {k: v[step * BATCH : (step + 1) * BATCH] for k, v in whole.items()}
        assert_equal(together, expected)


@pytest.mark.parametrize("replicas", [1, 2, 4])
def test_micro_batches_of_all_replicas_are_parts_of_the_global_batch(source, replicas):
    own, workers = BATCH // replicas, 2 if replicas > 1 else 1
    shares = []
    for worker in range(workers):
        rows = BATCH // workers
        settings = {"first_row": worker * rows, "rows": rows, "micro_batches": 2}
        shares += stream(source, replicas // workers, replica=own, **settings)
    ids = np.stack([share["id"].reshape(2, own // 2) for share in shares], 1)
    whole = stream(source, 1)[0]["id"]
    np.testing.assert_array_equal(ids.ravel(), whole)
    with pytest.raises(DataError, match="3 micro batches"):
        stream(source, 1, micro_batches=3)


def test_rest_of_the_rows_is_the_default(source):
    rest = joined(stream(source, 2, replica=4, first_row=4))
    whole = joined(stream(source, 2))
    np.testing.assert_array_equal(rest["id"], whole["id"].reshape(2, 8)[:, 4:].ravel())


def test_distributed_by_the_strategy():
    source = Shapes(parse_split("train"), examples=21, image_size=SIZE)
    strategy = tf.distribute.OneDeviceStrategy("cpu:0")
    dataset = strategy.distribute_datasets_from_function(
        lambda _: training(
            source, RECIPE, seed=3, start_step=2, global_batch=BATCH,
            replica_batch=BATCH, image_size=SIZE,
        )
    )  # fmt: skip
    first = next(iter(dataset))
    expected = stream(source, 1, start=2)[0]
    np.testing.assert_array_equal(first["views"], expected["views"])


@pytest.mark.parametrize("count", [1, 7, 8, 9, 16, 17])
def test_inference_shows_every_example_once(count):
    source = Shapes(parse_split(f"train[:{count}]"), examples=30, image_size=SIZE)
    batches = list(
        inference(source, EVAL, batch=8, image_size=SIZE).as_numpy_iterator()
    )
    assert len(batches) == -(-count // 8)
    whole = joined(batches)
    assert whole["image"].shape == (len(batches) * 8, SIZE, SIZE, 3)
    assert whole["image"].dtype == np.float32 and whole["mask"].dtype == bool
    assert whole["mask"].sum() == count
    np.testing.assert_array_equal(whole["id"][whole["mask"]], np.arange(count))
    assert (whole["id"][~whole["mask"]] == -1).all()
    assert (whole["image"][~whole["mask"]] == 0).all()
    for index in range(count):  # at 16 pixels the transform leaves images alone
        drawn = source._draw(index) / np.float32(255)
        np.testing.assert_allclose(whole["image"][index], drawn, atol=1e-6)


@pytest.mark.slow
def test_hostile_files_run_through_both(tmp_path, files):
    good, bad = files.hostile(tmp_path)
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    source = Folder(str(tmp_path), parse_split("all"))
    n = source.num_examples
    assert n == len(good) + len(bad)
    batches = inference(source, EVAL, batch=5, image_size=SIZE).as_numpy_iterator()
    whole = joined(list(batches))
    assert whole["mask"].sum() == len(good)
    assert len(set(whole["id"][whole["mask"]])) == len(good)
    assert len(source.skipped()) == len(bad)
    views = joined(stream(source, 2 * n))
    assert len(views["id"]) == 2 * n * BATCH
    assert set(views["id"]) == set(whole["id"][whole["mask"]])
    listed = sorted(os.path.basename(entry["path"]) for entry in source.skipped())
    assert listed == bad
    assert source.tally.loops == 1
    again = joined(stream(source, 2 * n))
    assert_equal(views, again)


def test_nobody_waits_for_a_tuner_when_a_pipeline_is_given_back(source):
    shown = inference(source, EVAL, batch=BATCH, image_size=SIZE)
    for options in (stream_of(source).options(), shown.options()):
        assert options.autotune.enabled is False
        # TensorFlow 2.15 has no such option, and begins with all cores.
        cores = getattr(options.autotune, "initial_parallelism", os.cpu_count())
        assert cores >= os.cpu_count()


def test_too_few_examples_say_what_to_do():
    source = Shapes(parse_split("train[:7]"), examples=30, image_size=SIZE)
    with pytest.raises(DataError, match="got 7 .*; expected .* 8; try .*batch_size"):
        stream(source, 1)


@pytest.mark.parametrize(
    "rows",
    [{"replica": 3}, {"first_row": 4, "rows": 8}, {"first_row": -1}, {"first_row": 8}],
)
def test_rows_that_do_not_fit(source, rows):
    with pytest.raises(DataError, match="rows"):
        stream(source, 1, **rows)
