"""Compares batch norm on two logical CPUs with one big batch; prints JSON.

Run in a process of its own: `two_replicas_program.py default|one_device CASE...`.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import tensorflow as tf

CASES = {
    "global": {},
    "global_unbiased": {"moving_variance": "unbiased"},
    "global_debiased": {"zero_debias": True},
    "two_groups": {"groups": 2, "moving_variance": "unbiased"},
    "four_groups": {"groups": 4},
    "vectors": {},
    "far": {},
}
STEPS = 2


def run_step(layer, x, weight, count):
    """Output, gradient by input, and summed gradients by gamma and beta."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
        loss = tf.reduce_sum(tf.tanh(y) * weight) / count
    dx, *dv = tape.gradient(loss, [x, *(v.value for v in layer.trainable_variables)])
    context = tf.distribute.get_replica_context()
    if tf.distribute.get_strategy().num_replicas_in_sync > 1:
        dv = context.all_reduce("SUM", dv)
    return y, dx, dv


def relative(a, b):
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return float(np.abs(a - b).max() / np.abs(b).max())


def compare(strategy, batch_norm, name, options):
    rng = np.random.default_rng(0)
    shape = (8, 6) if name == "vectors" else (8, 3, 3, 6)
    # Far from zero, E[x^2] - E[x]^2 alone would lose all its digits.
    mean = 1000 if name == "far" else 1
    xs = (rng.normal(size=(STEPS, *shape)) + mean).astype(np.float32)
    weight = rng.normal(size=shape).astype(np.float32)
    gamma = rng.uniform(0.5, 1.5, shape[-1])
    one = batch_norm(**options)
    one.build(shape)
    with strategy.scope():
        two = batch_norm(**options)
        two.build(shape)
    for layer in (one, two):
        layer.gamma.assign(gamma)
        layer.moving_mean.assign(np.full(shape[-1], mean - 1))

    @tf.function
    def distributed(x, w):
        return strategy.run(lambda a, b: run_step(two, a, b, len(weight)), (x, w))

    def split(x):
        return strategy.experimental_distribute_values_from_function(
            lambda c: tf.constant(np.split(x, 2)[c.replica_id_in_sync_group])
        )

    errors = {}
    for x in xs:
        y1, dx1, dv1 = run_step(one, tf.constant(x), weight, len(weight))
        y2, dx2, dv2 = distributed(split(x), split(weight))
        local = strategy.experimental_local_results
        found = {
            "output": (np.concatenate(local(y2)), y1),
            "input_gradient": (np.concatenate(local(dx2)), dx1),
            "gamma_gradient": (local(dv2[0])[1], dv1[0]),
            "beta_gradient": (local(dv2[1])[1], dv1[1]),
        }
        for v1, v2 in zip(
            one.non_trainable_variables, two.non_trainable_variables, strict=True
        ):
            copies = [np.asarray(c) for c in local(v2.value)]
            found[v1.name] = (copies[1], v1.numpy())
            spread = float(np.abs(copies[0] - copies[1]).max())
            errors["copies"] = max(errors.get("copies", 0.0), spread)
        for key, (a, b) in found.items():
            errors[key] = max(errors.get(key, 0.0), relative(a, b))
    return errors


def main():
    devices = [tf.config.LogicalDeviceConfiguration()] * 2
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, devices)
    options = {}
    if sys.argv[1] == "one_device":
        options["cross_device_ops"] = tf.distribute.ReductionToOneDevice()
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], **options)

    from tfssl.models import BatchNorm

    cases = {
        name: compare(strategy, BatchNorm, name, CASES[name]) for name in sys.argv[2:]
    }
    with strategy.scope():
        layer = BatchNorm(groups=3)
        layer.build((6, 2))
    try:
        strategy.run(lambda: layer(tf.ones([6, 2]), training=True))
        bad_groups = "no error"
    except ValueError as error:
        text = str(error)
        bad_groups = text[text.index("got 3") :]
    print(json.dumps({"cases": cases, "bad_groups": bad_groups}))


if __name__ == "__main__":
    main()
