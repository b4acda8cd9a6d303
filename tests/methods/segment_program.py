"""Trains a segmentation on one replica and on two, in a process of its own.

    python -m tests.methods.segment_program

Replicas see very different numbers of ignored pixels, and classes weigh differently: a
mean of means would differ from the mean over all. Prints the largest deviation, as a
share, of losses, of weights and of moving statistics after three steps.
"""

import numpy as np
import tensorflow as tf

from tfssl.config import Config, resolve
from tfssl.core import runtime
from tfssl.methods import Batch

SIZE, CLASSES, ROWS, STEPS = 32, 4, 4, 3
WEIGHTS = (1.0, 4.0, 2.0, 3.0)


def data():
    rng = np.random.default_rng(0)
    images = rng.random((STEPS, ROWS, SIZE, SIZE, 3), np.float32)
    masks = rng.integers(0, CLASSES, (STEPS, ROWS, SIZE, SIZE, 1), np.uint8)
    masks[:, 0] = 255  # of the first replica's rows one has no class at all
    masks[:, 1, 4:] = 255
    return images, masks


def trained(strategy):
    from tfssl import optim
    from tfssl.build import segmentation
    from tfssl.build.training import fresh_state
    from tfssl.train.replica_step import ReplicaStep

    config = resolve(
        Config(
            method="simclr",
            encoder="resnet10x0.125",
            image_size=SIZE,
            segment_width=8,
        )
    )

    def optimizer(rate):
        return optim.build_optimizer("sgd", rate, momentum=0.9, weight_decay=1e-4)

    with strategy.scope():
        state = fresh_state(
            segmentation.method(config, CLASSES, WEIGHTS),
            optim.build_schedule("poly", peak=0.05, total=10),
            optimizer,
        )
    step = ReplicaStep(state, lambda batch, now, part: (batch["views"],))
    share = ROWS // strategy.num_replicas_in_sync

    def one(images, masks):
        batch = Batch((images,), tf.zeros([share], tf.int64), None, {"mask": masks})
        return step.finish(step.backward(batch))

    @tf.function(autograph=False)
    def run(images, masks):
        return strategy.run(one, args=(images, masks))

    losses = []
    for images, masks in zip(*data(), strict=True):
        given = [
            strategy.experimental_distribute_values_from_function(
                lambda context, whole=whole: tf.constant(
                    whole[context.replica_id_in_sync_group * share :][:share]
                )
            )
            for whole in (images, masks)
        ]
        row = run(*given)
        losses.append(float(strategy.reduce("MEAN", row["loss"], axis=None)))
    items = {n: v.numpy() for n, v in state.method.checkpoint_items().items()}
    return np.array(losses), items


def main():
    runtime.split_cpu(2)
    one, two = trained(runtime.one()), trained(runtime.mirrored())
    print("losses", float(np.abs(one[0] / two[0] - 1).max()))
    moving = [n for n in one[1] if "moving" in n]
    for what, names in (("weights", set(one[1]) - set(moving)), ("statistics", moving)):
        apart = [np.linalg.norm(one[1][n] - two[1][n]) for n in names]
        size = [np.linalg.norm(one[1][n]) for n in names]
        print(what, float(np.linalg.norm(apart) / np.linalg.norm(size)))


if __name__ == "__main__":
    main()
