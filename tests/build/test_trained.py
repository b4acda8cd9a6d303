"""A trained run in a process that does other things, too."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfssl
from tests.tiny import tiny
from tfssl import tasks
from tfssl.augment import RECIPES, eval_transform
from tfssl.build import Trained
from tfssl.build.trained import raw_pixels
from tfssl.config import Config
from tfssl.core import runtime


def model(inputs, layer):
    return keras.Model(inputs, layer(inputs))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "float64"])
def test_answers_are_float32_whatever_was_trained_before(policy):
    config = tiny("simclr")
    pool = keras.layers.GlobalAveragePooling2D()
    encoder = model(keras.Input((16, 16, 3)), pool)
    head = model(keras.Input((3,)), keras.layers.Dense(5))
    run = Trained("run", config, None, encoder, head, eval_transform(RECIPES["simclr"]))
    images = np.random.default_rng(0).random((4, 16, 16, 3)).astype(np.float32)
    want = head(encoder(images)).numpy()
    with runtime.precision(policy):
        got = run.classify(images, probabilities=False)
        pixels = raw_pixels(run).features(images)
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(pixels, images.reshape(4, -1))


@pytest.mark.parametrize(
    ("name", "value", "right"),
    [
        ("floatx", "float16", "float32"),
        ("floatx", "float64", "float32"),
        ("image_data_format", "channels_first", "channels_last"),
    ],
)
def test_a_process_that_would_round_or_turn_images_is_refused(name, value, right):
    change = getattr(keras.config, f"set_{name}")
    change(value)
    try:
        with pytest.raises(tfssl.TfsslError, match=f"{name} {value}; expected {right}"):
            tasks.prepare(Config())
    finally:
        change(right)
    tasks.prepare(Config())


def test_a_process_without_graphs_is_refused():
    """The same seed would give other weights."""
    tf.config.run_functions_eagerly(True)
    try:
        with pytest.raises(tfssl.ConfigError, match="functions as graphs"):
            tasks.prepare(Config())
    finally:
        tf.config.run_functions_eagerly(False)
    tasks.prepare(Config())
