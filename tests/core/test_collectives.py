import os
import pathlib
import subprocess
import sys

import numpy as np
import tensorflow as tf

from tfssl.core import collectives

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
SCRIPT = HERE / "mirrored_collectives.py"


def test_two_replicas_have_the_loss_and_gradient_of_one():
    done = subprocess.run(
        [sys.executable, str(SCRIPT)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "all agree" in done.stdout


def test_one_replica_is_the_identity():
    x = tf.constant(np.arange(6.0).reshape(3, 2))
    assert collectives.num_replicas() == 1
    assert int(collectives.replica_id()) == 0
    for same in (
        collectives.gather(x),
        collectives.all_sum(x),
        collectives.all_mean(x),
        collectives.local_rows(x, 3),
    ):
        assert same is x
    nested = {"a": x}
    assert collectives.all_mean(nested) is nested
