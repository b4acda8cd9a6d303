"""Losses of both detectors: formulas, learning, nothing to learn; two replicas."""

import json
import math
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
import sys
import numpy as np
import tensorflow as tf
from tfssl.build import detection
from tfssl.config import Config, resolve
from tfssl.core import runtime
from tfssl.data import open_source
from tfssl.methods import Batch
from tfssl.train import make_run_steps

given = json.loads(sys.argv[1])
runtime.split_cpu(2)
data = open_source("shapes:12", "train", image_size=64, targets="boxes")
found = []
for strategy, steps in (("one", given.pop("steps")), ("mirrored", 3)):
    config = resolve(Config(
        method="moco", image_size=64, detect_steps=40, detect_batch_size=4,
        detect_warmup_steps=1, strategy=strategy, detect_weights="random",
        virtual_devices=2 if strategy == "mirrored" else 0,
        **{n: tuple(v) if isinstance(v, list) else v for n, v in given.items()},
    ))
    job = detection.detection(config, data)
    run = make_run_steps(job.strategy, job.state, job.views)
    rows = run(job.batches(0), tf.constant(steps, tf.int64))
    found.append({n: np.asarray(v).tolist() for n, v in rows.items()})
    found[-1]["replicas"] = job.strategy.num_replicas_in_sync
    if strategy == "one":
        # Pictures without an object.
        views = (tf.random.stateless_uniform([4, 64, 64, 3], [0, 0]),)
        none = {"boxes": tf.zeros([4, 5, 4]), "classes": -tf.ones([4, 5], tf.int64)}
        rows = Batch(views, tf.zeros([4], tf.int64), None, none)
        out = job.state.method.loss(rows, tf.constant(0, tf.int64))
        empty = {n: float(v) for n, v in (*out.scalars.items(), ("loss", out.loss))}
found.append(empty)
print(json.dumps(found))
"""

RETINANET = {"encoder": "resnet10x0.125", "detect_learning_rate": 0.05, "steps": 3}
C4 = {
    "encoder": "resnet10x0.25",
    "detector": "rcnn_c4",
    "detect_anchors": (8, 16, 32),
    "detect_regions": 32,
    "detect_learning_rate": 0.02,
    "detect_shorter": (64,),
    "steps": 30,
}


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
@pytest.mark.parametrize("given", [RETINANET, C4], ids=["retinanet", "rcnn_c4"])
def test_two_replicas_are_one(given):
    """Also where one replica's rows have hardly an object, and where none has any."""
    done = subprocess.run(
        [sys.executable, "-c", STEPS, json.dumps(given)],
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    one, two, empty = json.loads(done.stdout.splitlines()[-1])
    assert (one["replicas"], two["replicas"]) == (1, 2)
    names = [name for name in one if name.endswith("_loss")]
    assert len(names) == (4 if given is C4 else 2)
    for name in ("loss", *names):
        np.testing.assert_allclose(one[name][:3], two[name], rtol=2e-3, err_msg=name)
    np.testing.assert_allclose(one["loss"][0], two["loss"][0], rtol=1e-5)
    assert len(set(one["loss"])) == given["steps"]
    parts = np.sum([one[name] for name in names], 0)
    np.testing.assert_allclose(parts, one["loss"], rtol=1e-5)
    assert np.isfinite(empty["loss"])
    assert empty["box_loss"] == empty.get("proposal_loss", 0) == 0
    if given is C4:
        # Background is one of eleven classes, each as likely as the others at first.
        assert one["class_loss"][0] == pytest.approx(math.log(11), abs=0.1)
        assert 0 < one["object_regions"][0] <= given["detect_regions"]
        assert np.mean(one["loss"][-6:]) < 0.7 * np.mean(one["loss"][:6])
