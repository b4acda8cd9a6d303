"""RetinaNet's levels: where they lie, and the anchors on them."""

from __future__ import annotations

import importlib.util
import math
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from tfssl.errors import ConfigError
from tfssl.models import RetinaNet, resnet10
from tfssl.models.retinanet import level_strides


@pytest.mark.parametrize("cifar, first, whole", [(False, 8, 3), (True, 2, 9)])
def test_anchors_follow_the_encoders_strides(cifar, first, whole):
    encoder = resnet10(width=0.125, cifar=cifar, image_size=64, seed=0)
    assert level_strides(encoder) == {"P3": first, "P4": 2 * first, "P5": 4 * first}
    found = RetinaNet(encoder, 3, seed=0)
    offsets, logits = found.raw(np.zeros((1, 64, 64, 3), np.float32), training=False)
    levels = found.model.anchor_generator(image_shape=(64, 64, 3))
    cells = [math.ceil(64 / (first * 2**level)) ** 2 for level in range(5)]
    assert [len(boxes) // 9 for boxes in levels.values()] == cells
    assert logits.shape == (1, 9 * sum(cells), 3)
    assert offsets.shape == (1, 9 * sum(cells), 4)
    # In the middle; the canvas does not clip the smallest of a stride of 8.
    at = 9 * (32 // first * (64 // first) + 32 // first)
    middle = np.asarray(next(iter(levels.values())))[at : at + 9]
    areas = np.sort((middle[:, 2] - middle[:, 0]) * (middle[:, 3] - middle[:, 1]))
    want = np.repeat([(4 * first * 2 ** (k / 3)) ** 2 for k in range(3)], 3)
    np.testing.assert_allclose(areas[:whole], want[:whole], rtol=1e-4)


def test_width_is_of_pyramid_and_heads():
    encoder = resnet10(width=0.125, cifar=True, image_size=32, seed=0)
    found = RetinaNet(encoder, 3, seed=0, width=8)
    shapes = [each.shape for part in found.parts.values() for each in part.weights]
    levels = [(1, 1, rows, 8) for rows in (16, 32, 64)]
    levels += [(3, 3, rows, 8) for rows in (8, 8, 8, 64, 8)]
    heads = [(3, 3, 8, out) for out in (8, 8, 8, 27, 8, 8, 8, 36)]
    assert [shape for shape in shapes if len(shape) == 4] == levels + heads
    offsets, logits = found.raw(np.zeros((1, 32, 32, 3), np.float32), training=False)
    assert offsets.shape[1:] == (3069, 4) and logits.shape[1:] == (3069, 3)


@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec("tf_keras"), reason="needs tf-keras")
def test_it_is_keras_3_where_tf_keras_is_2():
    program = (
        "import tensorflow as tf, keras;"
        "from tfssl.models import RetinaNet, resnet10;"
        "encoder = resnet10(width=0.125, cifar=True, image_size=32, seed=0);"
        "found = RetinaNet(encoder, 3, seed=0, width=8);"
        "print(isinstance(found.model, keras.Model), tf.keras.Model is keras.Model)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "TF_USE_LEGACY_KERAS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "True False\n", done.stdout + done.stderr[-2000:]


def test_encoders_without_levels_are_refused():
    plain = keras.Sequential([keras.Input((64, 64, 3)), keras.layers.Flatten()])
    with pytest.raises(ConfigError, match="does not name its levels"):
        level_strides(plain)
    with pytest.raises(ConfigError, match="a side that each level divides"):
        level_strides(resnet10(width=0.125, image_size=72, seed=0))
