"""TensorFlow Addons as an oracle: LAMB, SGD, blur, cutout and InfoNCE by other hands.

Each runs in a process of its own, as `tf.keras` becomes Keras 2 there.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfssl import addons
from tfssl.augment import blur, color
from tfssl.augment.ablation import cutout
from tfssl.errors import TfsslError
from tfssl.losses import info_nce_batch
from tfssl.optim import Lamb, apply_update, build_optimizer

HERE = Path(__file__).parent
INSTALLED = importlib.util.find_spec("tensorflow_addons") is not None
SIZE = 32

slow_oracle = [
    pytest.mark.slow,
    pytest.mark.skipif(not INSTALLED, reason="no TensorFlow Addons for this Python"),
]


@pytest.fixture(scope="module")
def given():
    random = np.random.default_rng(0)
    normal = lambda *shape: random.normal(size=shape).astype(np.float32)  # noqa: E731
    return {
        "w0": normal(4, 3),
        "w1": normal(3),
        "g0": normal(20, 4, 3),
        "g1": normal(20, 3),
        "images": random.uniform(size=(2, SIZE, SIZE, 3)).astype(np.float32),
        "query": normal(6, 5),
        "key": normal(6, 5),
    }


@pytest.fixture(scope="module")
def theirs(given, tmp_path_factory):
    folder = tmp_path_factory.mktemp("addons")
    np.savez(folder / "given.npz", **given)
    done = subprocess.run(
        [sys.executable, HERE / "addons_program.py", folder / "given.npz",
         folder / "found.npz"],
        env={**os.environ, "PYTHONPATH": str(HERE.parent)},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return np.load(folder / "found.npz")


def ours(given, optimizer, dtype="float32"):
    weights = [tf.Variable(given[f"w{i}"].astype(dtype), name=f"w{i}") for i in "01"]
    optimizer.build(weights)
    for step in range(len(given["g0"])):
        gradients = [given[f"g{i}"][step].astype(dtype) for i in "01"]
        apply_update(optimizer, gradients, weights)
    return [w.numpy() for w in weights]


def lamb(decay, rule):
    """LAMB of the numbers in addons_program.py."""
    return Lamb(
        2.0**-7,
        beta_1=0.875,
        beta_2=0.9921875,
        epsilon=1e-7,
        weight_decay=decay,
        decay=rule,
        exclude=["w1"],
    )


class TestOracle:
    pytestmark = slow_oracle

    @pytest.mark.parametrize("decay", [0.0, 2.0**-13, 2.0**-6, 0.5])
    def test_lamb_by_the_papers_rule(self, given, theirs, decay):
        got = ours(given, lamb(decay, "paper"), "float64")
        for i in range(2):
            want = theirs[f"lamb_{decay:g}_{i}"]
            np.testing.assert_allclose(got[i], want, rtol=1e-7, atol=1e-7)

    def test_keras_rule_is_the_same_without_decay(self, given, theirs):
        # Keras adapts what is excluded as well: only w0 can be compared.
        got = ours(given, lamb(0.0, "keras"), "float64")
        np.testing.assert_allclose(got[0], theirs["lamb_0_0"], rtol=1e-7, atol=1e-7)
        decayed = ours(given, lamb(0.5, "keras"), "float64")
        assert np.abs(decayed[0] - theirs["lamb_0.5_0"]).max() > 1e-3

    def test_sgd(self, given, theirs):
        got = ours(given, build_optimizer("sgd", 0.1, lr_in_velocity=True))
        for i in range(2):
            np.testing.assert_allclose(got[i], theirs[f"sgdw_0_{i}"], rtol=1e-5)

    def test_sgdw_decays_beside_the_gradient(self, given, theirs):
        """SGDW: v = .9 v + .1 g, w = w - wd w - v; ours has wd w inside of v."""
        for i in range(2):
            w, v = given[f"w{i}"].astype(np.float64), 0.0
            for g in given[f"g{i}"]:
                v = 0.9 * v + 0.1 * g
                w = w - 0.01 * w - v
            np.testing.assert_allclose(w, theirs[f"sgdw_0.01_{i}"], rtol=1e-4)

    @pytest.mark.parametrize("sigma", [0.1, 0.7, 2.0])
    def test_gaussian_blur(self, given, theirs, sigma):
        matrix = blur.gaussian_matrix(tf.constant([sigma] * 2), SIZE, 3)
        planes = blur.blur(color.split(tf.constant(given["images"])), matrix)
        np.testing.assert_allclose(
            color.join(planes), theirs[f"blur_{sigma:g}"], atol=2e-6
        )

    def test_cutout(self, given, theirs):
        planes = color.split(tf.constant(given["images"]))
        center = tf.constant([[10 / SIZE, 14 / SIZE]] * 2)
        got = color.join(cutout(planes, center, tf.constant([8 / SIZE] * 2)))
        np.testing.assert_array_equal(got, theirs["cutout"])

    def test_n_pairs_is_info_nce_at_temperature_1(self, given, theirs):
        loss = info_nce_batch(
            given["query"], given["key"], temperature=1.0, normalize=False
        )
        np.testing.assert_allclose(tf.reduce_mean(loss), theirs["n_pairs"], rtol=1e-6)

    def test_keras_stays_3(self, theirs):
        assert theirs["keras_is_3"]


def test_it_comes_before_tensorflow(monkeypatch):
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "0")
    with pytest.raises(TfsslError, match=r"addons\.load\(\) first"):
        addons.load()


@pytest.mark.skipif(INSTALLED, reason="it is installed")
def test_where_it_cannot_be(monkeypatch):
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "1")
    with pytest.raises(TfsslError, match=r"wheels for Python 3\.10 and 3\.11"):
        addons.load()
