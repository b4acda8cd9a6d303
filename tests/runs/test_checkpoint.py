"""Checkpoints: complete or absent, strict, and never lost."""

import json
import threading
import types

import numpy as np
import pytest
import tensorflow as tf

from tfssl.errors import CheckpointError, DivergenceError
from tfssl.runs import CheckpointStore, checkpoint
from tfssl.runs import store as checkpoint_store


def items(value=0.0):
    return {
        "step": tf.Variable(int(value), dtype=tf.int64),
        "online/encoder/stem_conv/kernel": tf.Variable(
            np.arange(6, dtype=np.float32).reshape(2, 3) + value
        ),
        "queue/head": tf.Variable(7, dtype=tf.int64),
    }


def numbers(variables):
    return {name: v.numpy() for name, v in variables.items()}


def assert_equal(a, b):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def test_round_trip_is_exact_and_named_as_given(tmp_path):
    store = CheckpointStore(tmp_path)
    saved = items(3)
    store.save(3, saved)
    fresh = items(0)
    assert store.restore_newest(fresh) == 3
    assert_equal(numbers(fresh), numbers(saved))
    assert_equal(checkpoint.read(store.path(3)), numbers(saved))


def test_no_checkpoint_is_not_an_error(tmp_path):
    assert CheckpointStore(tmp_path / "none").restore_newest(items()) is None


def test_keeps_the_newest(tmp_path):
    store = CheckpointStore(tmp_path, keep=2)
    for step in (1, 2, 10, 100):
        store.save(step, items(step))
    assert store.steps() == [10, 100]


def test_same_step_again_replaces(tmp_path):
    store = CheckpointStore(tmp_path)
    store.save(1, items(1))
    store.save(1, items(5))
    fresh = items()
    store.restore_newest(fresh)
    assert fresh["step"].numpy() == 5


def truncate(folder):
    file = next(folder.glob("tensors.data-*"))
    file.write_bytes(file.read_bytes()[:-1])


def flip(folder):
    file = next(folder.glob("tensors.data-*"))
    data = bytearray(file.read_bytes())
    data[3] ^= 1
    file.write_bytes(bytes(data))


def lose(folder):
    (folder / "tensors.index").unlink()


def no_manifest(folder):
    (folder / "manifest.json").unlink()


def half_manifest(folder):
    (folder / "manifest.json").write_text('{"format": 1, "st')


@pytest.mark.parametrize("harm", [truncate, flip, lose, no_manifest, half_manifest])
def test_damaged_newest_falls_back_with_a_warning(tmp_path, caplog, harm):
    store = CheckpointStore(tmp_path)
    store.save(1, items(1))
    store.save(2, items(2))
    harm(store.path(2))
    fresh = items()
    assert store.restore_newest(fresh) == 1
    assert fresh["step"].numpy() == 1
    assert "step-000000002 is damaged" in caplog.text
    assert "using" in caplog.text and "step-000000001" in caplog.text


def test_all_damaged_is_refused(tmp_path):
    store = CheckpointStore(tmp_path)
    store.save(1, items(1))
    flip(store.path(1))
    with pytest.raises(CheckpointError, match="1 damaged checkpoints"):
        store.restore_newest(items())


def test_differences_are_all_listed(tmp_path):
    store = CheckpointStore(tmp_path)
    store.save(1, items(1))
    other = items()
    del other["queue/head"]
    other["probe/kernel"] = tf.Variable([1.0])
    other["online/encoder/stem_conv/kernel"] = tf.Variable(tf.zeros([3, 3]))
    with pytest.raises(CheckpointError) as caught:
        store.restore_newest(other)
    text = str(caught.value)
    assert "missing probe/kernel" in text
    assert "surplus queue/head" in text
    assert "stem_conv/kernel has shape (2, 3) instead of (3, 3)" in text


def test_nan_is_not_saved(tmp_path):
    store = CheckpointStore(tmp_path)
    store.save(1, items(1))
    bad = items(2)
    bad["online/encoder/stem_conv/kernel"].assign(tf.fill([2, 3], np.nan))
    with pytest.raises(DivergenceError, match=r"stem_conv/kernel\) at step 2"):
        store.save(2, bad)
    assert store.steps() == [1]


def full(*args, **kwargs):
    raise OSError(28, "No space left on device")


def test_full_disk_keeps_the_old_one_and_says_what_is_missing(tmp_path, monkeypatch):
    store = CheckpointStore(tmp_path)
    store.save(1, items(1))
    free = types.SimpleNamespace(free=2_000_000)
    monkeypatch.setattr(checkpoint, "write", full)
    monkeypatch.setattr(checkpoint_store.shutil, "disk_usage", lambda path: free)
    big = items(2) | {"target/big": tf.Variable(tf.zeros([1_000_000]))}
    with pytest.raises(CheckpointError, match=r"No space left.* 2\.0 MB are missing"):
        store.finish(2, big)
    assert store.steps() == [1]
    assert not list(tmp_path.glob(".writing-*"))


def test_every_mth_stays_for_ever(tmp_path):
    store = CheckpointStore(tmp_path, keep=2, keep_steps=4)
    for step in range(2, 16, 2):
        store.save(step, items(step))
    assert store.steps() == [4, 8, 12, 14]


def test_damaged_later_ones_do_not_push_out_whole_ones(tmp_path):
    store = CheckpointStore(tmp_path, keep=1)
    store.save(20, items(20))
    flip(store.path(20))
    store.save(15, items(15))
    assert store.steps() == [15]


def test_background_writes_what_was_there_and_one_at_a_time(tmp_path, monkeypatch):
    store = CheckpointStore(tmp_path, background=True)
    go_on, running = threading.Event(), []
    really = checkpoint.write

    def slow(folder, step, tensors):
        running.append(step)
        go_on.wait(20)
        really(folder, step, tensors)
        running.remove(step)

    monkeypatch.setattr(checkpoint_store.checkpoint, "write", slow)
    moving = items(1)
    store.save(1, moving)
    kernel = moving["online/encoder/stem_conv/kernel"]
    kernel.assign(kernel + 100.0)
    assert store.steps() == []
    threading.Timer(0.2, go_on.set).start()
    store.save(2, items(2))
    assert store.steps()[0] == 1 and 1 not in running
    store.wait()
    assert store.steps() == [1, 2]
    assert_equal(checkpoint.read(store.path(1)), numbers(items(1)))


@pytest.mark.parametrize("background", [False, True])
def test_a_full_disk_is_a_warning_and_the_next_one_tries_again(
    tmp_path, monkeypatch, caplog, background
):
    store = CheckpointStore(tmp_path, background=background)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write", full)
        store.save(1, items(1))
        store.wait()
    assert "of step 1" in caplog.text and "the run goes on" in caplog.text
    store.save(2, items(2))
    store.wait()
    assert store.steps() == [2]


def test_finish_writes_what_is_not_there_yet(tmp_path, monkeypatch, caplog):
    with CheckpointStore(tmp_path, background=True) as store:
        with monkeypatch.context() as patch:
            patch.setattr(checkpoint, "write", full)
            store.save(1, items(1))
            with pytest.raises(CheckpointError, match="of step 1"):
                store.finish(1, items(1))
        store.finish(1, items(1))
    assert store.steps() == [1]
    with (
        monkeypatch.context() as patch,
        CheckpointStore(tmp_path, background=True) as s,
    ):
        patch.setattr(checkpoint, "write", full)
        s.save(2, items(2))
    assert "of step 2" in caplog.text and "the last one" in caplog.text


def test_half_written_leftovers_are_ignored_and_removed(tmp_path):
    store = CheckpointStore(tmp_path)
    store.save(1, items(1))
    left = tmp_path / ".writing-000000002-99999"
    left.mkdir()
    (left / "tensors.index").write_text("half")
    assert store.restore_newest(items()) == 1
    store.save(3, items(3))
    assert not left.exists()


def test_manifest_names_every_tensor(tmp_path):
    store = CheckpointStore(tmp_path)
    store.save(4, items(4))
    manifest = json.loads((store.path(4) / "manifest.json").read_text())
    assert manifest["step"] == 4
    assert manifest["tensors"]["online/encoder/stem_conv/kernel"] == ["float32", 2, 3]
