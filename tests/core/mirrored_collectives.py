"""Run by test_collectives.py in its own process: one MirroredStrategy each."""

import numpy as np
import tensorflow as tf

from tfssl.core import collectives
from tfssl.losses import nt_xent

cpu = tf.config.list_physical_devices("CPU")[0]
one = tf.config.LogicalDeviceConfiguration()
tf.config.set_logical_device_configuration(cpu, [one, one])

rng = np.random.default_rng(0)
z = rng.normal(size=(2, 2, 4, 8)).astype(np.float32)  # view, replica, row, dim
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
table = tf.constant(np.arange(24.0, dtype=np.float32).reshape(8, 3))
shapes = []


def replica(z1, z2):
    rank = collectives.replica_id()
    with tf.GradientTape() as tape:
        tape.watch([z1, z2])
        z1_all, z2_all = collectives.gather(z1), collectives.gather(z2)
        shapes.append(z1_all.shape.as_list())
        loss = (
            tf.reduce_mean(
                nt_xent(
                    z1,
                    z2,
                    temperature=0.1,
                    z1_all=z1_all,
                    z2_all=z2_all,
                    offset=rank * z1.shape[0],
                )
            )
            / collectives.num_replicas()
        )
    grads = tape.gradient(loss, [z1, z2])
    value = tf.cast(rank, tf.float32)
    return {
        "loss": collectives.all_sum(loss),
        "g1": grads[0],
        "g2": grads[1],
        "all": z1_all,
        "rows": collectives.local_rows(table, 4),
        "labels": collectives.local_rows(tf.range(8), 4),
        "mean": collectives.all_mean({"a": value, "b": value + 2.0}),
        "sum": collectives.all_sum([value, value + 2.0]),
    }


@tf.function
def run(z1, z2):
    return strategy.run(replica, args=(z1, z2))


def spread(view):
    return strategy.experimental_distribute_values_from_function(
        lambda c: tf.constant(z[view, c.replica_id_in_sync_group])
    )


out = run(spread(0), spread(1))
local = {
    k: tf.nest.map_structure(strategy.experimental_local_results, v)
    for k, v in out.items()
}

flat = [tf.constant(x.reshape(8, 8)) for x in z]
with tf.GradientTape() as tape:
    tape.watch(flat)
    loss = tf.reduce_mean(nt_xent(*flat, temperature=0.1))
grads = tape.gradient(loss, flat)
for r in range(2):
    np.testing.assert_array_equal(local["all"][r], flat[0])
    np.testing.assert_allclose(local["loss"][r], loss, rtol=1e-6)
    np.testing.assert_array_equal(local["rows"][r], table[4 * r : 4 * r + 4])
    np.testing.assert_array_equal(local["labels"][r], np.arange(4 * r, 4 * r + 4))
    assert float(local["mean"]["a"][r]) == 0.5 and float(local["mean"]["b"][r]) == 2.5
    assert [float(v[r]) for v in local["sum"]] == [1.0, 5.0]
for name, want in zip(("g1", "g2"), grads, strict=True):
    got = np.concatenate(local[name])
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-7, err_msg=name)
assert shapes == [[8, 8]] * len(shapes), shapes
print("all agree")
