"""DeepLabV3+'s head: enlarging, dilations, shapes, gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfssl.models.convolution import Conv
from tfssl.models.deeplab import Enlarge, bilinear_matrix, dilations


@pytest.mark.parametrize("sizes", [(5, 13), (1, 4), (4, 4), (7, 20)])
def test_enlarging_is_bilinear_resizing(sizes):
    size, new = sizes
    x = np.random.default_rng(0).random((2, size, size + 2, 3), np.float32)
    got = Enlarge(new, new + 1)(x)
    want = tf.image.resize(x, (new, new + 1), "bilinear")
    np.testing.assert_allclose(got, want, atol=1e-6)
    np.testing.assert_allclose(bilinear_matrix(size, new).sum(1), 1, rtol=1e-6)


def test_dilations_are_in_proportion_to_the_published_map():
    assert dilations(33) == (6, 12, 18)
    assert dilations(16) == (3, 6, 9) and dilations(2) == (1, 1, 1)


def test_a_dilated_convolution_is_keras_own():
    x = np.random.default_rng(0).random((1, 9, 8, 2), np.float32)
    ours = Conv(3, 3, dilation=3)
    got = ours(x)
    theirs = keras.layers.Conv2D(3, 3, dilation_rate=3, padding="same", use_bias=False)
    theirs.build(x.shape)
    theirs.set_weights(ours.get_weights())
    np.testing.assert_allclose(got, theirs(x), atol=1e-5)
    assert Conv.from_config(ours.get_config()).dilation == 3
    with pytest.raises(ValueError, match="dilation=2 with stride=2"):
        Conv(3, 3, 2, dilation=2)
