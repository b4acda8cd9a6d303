"""Run by test_addons.py in its own process: saves what TensorFlow Addons computes."""

import sys

import numpy as np

from tfssl import addons

tfa = addons.load()

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402

given = np.load(sys.argv[1])
found = {}


def optimised(make, dtype="float32"):
    """Trains the two variables of `given`; their values after the last gradient."""
    weights = [tf.Variable(given[f"w{i}"].astype(dtype), name=f"w{i}") for i in "01"]
    optimizer = make()
    for step in range(len(given["g0"])):
        optimizer.apply_gradients(
            [
                (tf.constant(given[f"g{i}"][step].astype(dtype)), w)
                for i, w in zip("01", weights, strict=True)
            ]
        )
    return [w.numpy() for w in weights]


# Addons keeps its numbers in float32: these are exact there.
for decay in (0.0, 2.0**-13, 2.0**-6, 0.5):
    values = optimised(
        lambda d=decay: tfa.optimizers.LAMB(
            2.0**-7,
            beta_1=0.875,
            beta_2=0.9921875,
            epsilon=1e-7,
            weight_decay=d,
            exclude_from_weight_decay=["w1"],
        ),
        "float64",
    )
    found |= {f"lamb_{decay:g}_{i}": v for i, v in enumerate(values)}
for decay in (0.0, 0.01):
    values = optimised(
        lambda d=decay: tfa.optimizers.SGDW(
            learning_rate=0.1, momentum=0.9, weight_decay=d
        )
    )
    found |= {f"sgdw_{decay:g}_{i}": v for i, v in enumerate(values)}
for sigma in (0.1, 0.7, 2.0):
    found[f"blur_{sigma:g}"] = tfa.image.gaussian_filter2d(
        tf.constant(given["images"]), 7, sigma, padding="CONSTANT"
    ).numpy()
found["cutout"] = tfa.image.cutout(
    tf.constant(given["images"]), 8, offset=(10, 14), constant_values=0.5
).numpy()
found["n_pairs"] = tfa.losses.npairs_loss(
    tf.range(6), tf.matmul(given["query"], given["key"], transpose_b=True)
).numpy()
found["keras_is_3"] = np.array(keras.__version__.startswith("3."))
np.savez(sys.argv[2], **found)
