"""What each worker does at a checkpoint."""

import types

import pytest
import tensorflow as tf

from tfssl.errors import DivergenceError
from tfssl.train import NullRecorder, Settings


def test_every_worker_finds_what_is_not_finite():
    """Else the chief alone would stop, or rewind, and the others wait for it."""
    items = {"step": tf.Variable(3), "queue/keys": tf.Variable([1.0, float("nan")])}
    state = types.SimpleNamespace(items=lambda: items)
    recorder = NullRecorder(Settings(save_every=1))
    with pytest.raises(DivergenceError, match=r"queue/keys.* at step 3"):
        recorder.save(3, state)
    items["queue/keys"].assign([1.0, 0.0])
    recorder.save(3, state)
