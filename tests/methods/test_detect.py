"""RetinaNet's losses by their formulas; one replica is two."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tests.worker_processes import ROOT
from tfssl.losses import focal_loss, smooth_l1

STEPS = """
import json
import numpy as np
import tensorflow as tf
from tfssl.build.dense import dense_job
from tfssl.build import detection
from tfssl.config import Config, resolve
from tfssl.data import open_source
from tfssl.core import runtime
from tfssl.train import make_run_steps

runtime.split_cpu(2)
data = open_source("shapes:12", "train", image_size=64, targets="boxes")
found = []
for strategy in ("one", "mirrored"):
    config = resolve(Config(
        method="moco", encoder="resnet10x0.125", image_size=64, detect_steps=3,
        detect_batch_size=4, detect_warmup_steps=1, detect_learning_rate=0.05,
        strategy=strategy,
        virtual_devices=2 if strategy == "mirrored" else 0,
    ))
    job = detection.detection(config, data)
    run = make_run_steps(job.strategy, job.state, job.views)
    rows = run(job.batches(0), tf.constant(3, tf.int64))
    found.append({n: np.asarray(v).tolist() for n, v in rows.items()})
    found[-1]["replicas"] = job.strategy.num_replicas_in_sync
print(json.dumps(found))
"""


def test_focal_loss_is_its_formula():
    labels = np.array([1, 0, 1, 0], np.float32)
    logits = np.array([0.3, 0.3, -2.0, -4.0], np.float32)
    p = 1 / (1 + np.exp(-logits))
    right = np.where(labels == 1, p, 1 - p)
    alpha = np.where(labels == 1, 0.25, 0.75)
    want = -alpha * (1 - right) ** 2 * np.log(right)
    np.testing.assert_allclose(focal_loss(labels, logits), want, rtol=1e-4)
    plain = focal_loss(labels, logits, alpha=0.5, gamma=0.0)
    np.testing.assert_allclose(plain, -0.5 * np.log(right), rtol=1e-5)
    hard = focal_loss(tf.constant([1.0, 0.0]), tf.constant([-200.0, 200.0]))
    assert np.isfinite(hard).all()


def test_smooth_l1_by_hand():
    given = tf.constant([0.0, 0.5, -1.0, 3.0])
    np.testing.assert_allclose(smooth_l1(given), [0, 0.125, 0.5, 2.5])


@pytest.mark.slow
def test_two_replicas_are_one():
    """Also where one replica's rows have hardly an object."""
    done = subprocess.run(
        [sys.executable, "-c", STEPS],
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    one, two = json.loads(done.stdout.splitlines()[-1])
    assert (one["replicas"], two["replicas"]) == (1, 2)
    for name in ("loss", "class_loss", "box_loss", "matched_anchors"):
        np.testing.assert_allclose(one[name], two[name], rtol=2e-3, err_msg=name)
    np.testing.assert_allclose(one["loss"][0], two["loss"][0], rtol=1e-5)
    assert len(set(one["loss"])) == 3
