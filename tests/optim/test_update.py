import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfssl.config.tables import OPTIMIZERS
from tfssl.optim import LARS, SGD, apply_update, build_optimizer

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
SCRIPT = HERE / "mirrored_update.py"


@pytest.mark.slow
def test_two_replicas_stay_bitwise_equal_and_equal_one():
    done = subprocess.run(
        [sys.executable, str(SCRIPT)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    agreed = {line.split()[1] for line in done.stdout.splitlines() if "agree" in line}
    assert agreed == set(OPTIMIZERS)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_same_as_apply_gradients_on_one_device(name):
    results = []
    for own in (True, False):
        w = tf.Variable([[1.0, 2.0]])
        optimizer = build_optimizer(name, 0.1, weight_decay=0.3)
        optimizer.build([w])
        for step in range(4):
            g = tf.constant([[1.0, -1.0 - step]])
            if own:
                apply_update(optimizer, [g], [w])
            else:
                optimizer.apply_gradients([(g, w)])
        results.append(w.numpy())
        assert int(optimizer.iterations.numpy()) == 4
    np.testing.assert_allclose(*results, rtol=1e-6)


def test_clipping_and_constraints():
    layer = keras.layers.Dense(2, use_bias=False, kernel_constraint="non_neg")
    layer.build([None, 1])
    layer.kernel.assign([[1.0, 0.1]])
    optimizer = SGD(1.0, momentum=0.0, global_clipnorm=0.5)
    optimizer.build([layer.kernel])
    apply_update(optimizer, [tf.constant([[3.0, 4.0]])], [layer.kernel])
    np.testing.assert_allclose(layer.kernel, [[0.7, 0.0]], rtol=1e-6)


def test_refusals():
    w = tf.Variable([[1.0]], name="dense/kernel")
    with pytest.raises(ValueError, match="strategy.scope"):
        apply_update(LARS(0.1), [tf.ones([1, 1])], [w])
    optimizer = LARS(0.1)
    optimizer.build([w])
    with pytest.raises(ValueError, match="no gradient for dense/kernel"):
        apply_update(optimizer, [None], [w])
    optimizer = LARS(0.1, use_ema=True)
    optimizer.build([w])
    with pytest.raises(ValueError, match="use_ema"):
        apply_update(optimizer, [tf.ones([1, 1])], [w])
