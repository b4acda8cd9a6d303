"""Checkpoints: complete or absent, strict, and never lost."""

import json

import numpy as np
import pytest
import tensorflow as tf

from tfssl.errors import CheckpointError, DivergenceError
from tfssl.train import checkpoint
from tfssl.train.checkpoint import CheckpointStore


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
    assert "step-000000002" in caplog.text and "damaged" in caplog.text


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
    with pytest.raises(DivergenceError, match="stem_conv/kernel at step 2"):
        store.save(2, bad)
    assert store.steps() == [1]


def test_full_disk_keeps_the_old_one(tmp_path, monkeypatch):
    store = CheckpointStore(tmp_path)
    store.save(1, items(1))

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "_write_bundle", full)
    with pytest.raises(CheckpointError, match=r"No space left.*MB free"):
        store.save(2, items(2))
    assert store.steps() == [1]
    assert not list(tmp_path.glob(".writing-*"))


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
