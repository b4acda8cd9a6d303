"""The views of a step do not depend on how a CPU shares the work out."""

import numpy as np
import pytest
import tensorflow as tf

from tfssl.augment import named
from tfssl.train import make_photometry

STEP = tf.constant(7, tf.int64)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["simclr_cifar", "byol", "figure5:noise+crop"])
def test_lanes_and_batched_form_give_the_same_views(name):
    images = np.random.default_rng(0).integers(0, 256, (5, 2, 24, 24, 3), np.uint8)
    settings = {"seed": 3, "global_batch": 5, "replica_batch": 5}

    def views(lanes):
        return make_photometry(named(name), lanes=lanes, **settings)(
            {"views": tf.constant(images)}, STEP
        )

    one, three, batched = views(1), views(3), views(0)
    for v in range(2):
        np.testing.assert_array_equal(one[v], three[v])
        np.testing.assert_allclose(one[v], batched[v], atol=3e-5)
        assert np.ptp(one[v]) > 0.1
