"""The loss of segmentation against loops; two replicas train as one does."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfssl.augment.dense import IGNORED
from tfssl.build.segmentation import class_weights
from tfssl.data import open_source
from tfssl.methods import Batch, Segment

SIZE, CLASSES = 6, 3


def with_logits(logits, weights):
    """A segmentation whose network says `logits`, whatever it sees."""
    images = keras.Input((SIZE, SIZE, 3))
    encoder = keras.Model(images, images)
    said = keras.layers.Lambda(lambda _: tf.constant(logits))(images)
    return Segment(encoder, encoder, keras.Model(images, said), weights)


@pytest.mark.parametrize("weights", [None, (1.0, 7.0, 2.5)])
@pytest.mark.parametrize("ignored", [0.0, 0.4, 1.0])
def test_the_loss_is_the_weighted_mean_over_pixels_with_a_class(weights, ignored):
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(2, SIZE, SIZE, CLASSES)).astype(np.float32)
    mask = rng.integers(0, CLASSES, (2, SIZE, SIZE, 1)).astype(np.uint8)
    mask[rng.random(mask.shape) < ignored] = IGNORED
    top, bottom, right, pixels = 0.0, 0.0, 0, 0
    for scores, label in zip(logits.reshape(-1, CLASSES), mask.ravel(), strict=True):
        if label == IGNORED:
            continue
        weight = 1.0 if weights is None else weights[label]
        chance = np.exp(scores[label]) / np.exp(scores).sum()
        top, bottom = top - weight * np.log(chance), bottom + weight
        right, pixels = right + (scores.argmax() == label), pixels + 1
    views = (tf.zeros([2, SIZE, SIZE, 3]),)
    batch = Batch(views, tf.zeros([2], tf.int64), None, {"mask": mask})
    found = with_logits(logits, weights).loss(batch, tf.constant(0))
    np.testing.assert_allclose(found.loss, top / max(bottom, 1), rtol=1e-5)
    accuracy = found.scalars["pixel_accuracy"]
    np.testing.assert_allclose(accuracy, right / max(pixels, 1), rtol=1e-6)


def test_weights_of_classes_are_powers_of_their_shares():
    data = open_source("shapes:40", "train", targets="mask", image_size=32)
    numbers = [data.mask(tf.constant(n, tf.int64)).numpy().ravel() for n in range(40)]
    share = np.bincount(np.concatenate(numbers), minlength=11) / (40 * 32 * 32)
    assert (share > 0).all() and share[0] > 0.7
    for power in (0.5, 1.0):
        expected = 1 / share**power
        np.testing.assert_allclose(class_weights(data, power), expected, rtol=1e-9)
    np.testing.assert_allclose(share @ class_weights(data, 1.0), 11)


def test_weights_where_pixels_or_classes_are_missing(tmp_path):
    from tests.data.test_masks import png, write

    masks = np.full((4, 8, 8), IGNORED, np.uint8)
    masks[:, :2], masks[:, 2] = 0, 2  # of class 1 there is none
    image = png(np.zeros((8, 8, 3), np.uint8))
    files = {f"images/{n}.png": image for n in range(4)}
    files |= {f"masks/{n}.png": png(masks[n]) for n in range(4)}
    write(tmp_path, files | {"classes.txt": b"a\nb\nc"})
    data = open_source(f"masks:{tmp_path}", "all", targets="mask", image_size=8)
    found = class_weights(data, 0.5)
    np.testing.assert_allclose(found, [(2 / 3) ** -0.5, 1.0, (1 / 3) ** -0.5])


@pytest.mark.slow
def test_two_replicas_compute_what_one_does():
    program = [sys.executable, "-m", "tests.methods.segment_program"]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    found = dict(line.split() for line in done.stdout.splitlines()[-3:])
    assert set(found) == {"losses", "weights", "statistics"}
    for what, apart in found.items():
        assert float(apart) < 1e-5, what
