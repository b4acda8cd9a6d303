"""Run by test_update.py in its own process: one MirroredStrategy each."""

import functools

import keras
import numpy as np
import tensorflow as tf

from tfssl.config.tables import OPTIMIZERS
from tfssl.optim import apply_update, build_optimizer, warmup_cosine

cpu = tf.config.list_physical_devices("CPU")[0]
one = tf.config.LogicalDeviceConfiguration()
tf.config.set_logical_device_configuration(cpu, [one, one])


rate = functools.partial(warmup_cosine, peak=0.5, warmup=2, total=9)
rng = np.random.default_rng(0)
data = rng.normal(size=(5, 2, 4, 6)).astype(np.float32)  # step, replica, row, in


def make(name):
    model = keras.Sequential(
        [
            keras.layers.Input([6]),
            keras.layers.Dense(3, kernel_initializer=keras.initializers.HeNormal(1)),
            keras.layers.Dense(2, kernel_initializer=keras.initializers.HeNormal(2)),
        ]
    )
    optimizer = build_optimizer(name, rate, weight_decay=0.01)
    optimizer.build(model.trainable_variables)
    return model, optimizer


def gradients(model, x):
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(model(x) - 1.0))
    return tape.gradient(loss, [v.value for v in model.trainable_variables])


alone = {}
for name in OPTIMIZERS:
    model, optimizer = make(name)
    for step in data:
        parts = [gradients(model, x) for x in step]
        summed = [a + b for a, b in zip(*parts, strict=True)]
        apply_update(optimizer, summed, model.trainable_variables)
    alone[name] = [v.numpy() for v in model.trainable_variables + optimizer.variables]

strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    made = {name: make(name) for name in OPTIMIZERS}


def replica_step(x):
    context = tf.distribute.get_replica_context()
    for model, optimizer in made.values():
        grads = gradients(model, x)
        grads = context.all_reduce(tf.distribute.ReduceOp.SUM, grads)
        apply_update(optimizer, grads, model.trainable_variables)


@tf.function
def run(iterator, steps):
    for _ in tf.range(steps):  # as the training loop does
        strategy.run(replica_step, args=(next(iterator),))


rows = tf.data.Dataset.from_tensor_slices(data.reshape(-1, *data.shape[2:]))
iterator = iter(
    strategy.distribute_datasets_from_function(lambda context: rows)
)  # one row per replica
run(iterator, tf.constant(2))
run(iterator, tf.constant(3))
assert run.experimental_get_tracing_count() == 1
for name, (model, optimizer) in made.items():
    for v, want in zip(
        model.trainable_variables + optimizer.variables, alone[name], strict=True
    ):
        copies = [c.numpy() for c in strategy.experimental_local_results(v.value)]
        assert len(copies) == 2, (name, v.path)
        assert copies[0].tobytes() == copies[1].tobytes(), (name, v.path)
        np.testing.assert_allclose(
            copies[0], want, rtol=2e-5, atol=1e-6, err_msg=name + " " + v.path
        )
    print("agree:", name)
