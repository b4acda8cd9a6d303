"""The learning rate that flags ask for, against closed forms."""

import numpy as np

from tests.tiny import tiny
from tfssl import build

IMAGENET = 1_281_167


def rates(steps, method="moco", images=IMAGENET, **flags):
    flags = {"train_steps": 0, "warmup_epochs": 0.0, "batch_size": 256, **flags}
    config = tiny(method, **{"learning_rate": 0.03, "lr_schedule": "step", **flags})
    total = build.total_steps(config, images)
    rate = build.learning_rate(config, images, total)
    return [rate(step) for step in steps]


def test_milestones_are_epochs_as_the_method_counts_them():
    epoch = 5004  # MoCo's loader drops the rest
    steps = [m * epoch + d for m in (120, 160) for d in (-1, 0)]
    usual = rates(steps, epochs=200)
    np.testing.assert_allclose(usual, [0.03, 0.003, 0.003, 0.0003])
    assert rates(steps, epochs=200, lr_milestones=(120.0, 160.0)) == usual
    # The others: 150.5 epochs of 5004.56 updates, floored.
    more = {"epochs": 200, "lr_milestones": (150.5,), "lr_decay": 0.25}
    got = rates([753_185, 753_186], "byol", **more)
    np.testing.assert_allclose(got, [0.03, 0.0075])


def test_ig_1b():
    """0.9 after every 62,500 steps (1911.05722, section 4)."""
    flags = {"lr_schedule": "exponential", "lr_scaling": "none", "learning_rate": 0.12}
    flags |= {"train_steps": 1_250_000, "batch_size": 1024, "queue_size": 65536}
    steps = [0, 62_499, 62_500, 124_999, 1_249_999]
    powers = np.array([0, 0, 1, 1, 19])
    got = rates(steps, lr_staircase=True, **flags)
    np.testing.assert_allclose(got, 0.12 * 0.9**powers)
    smooth = rates(steps, **flags)
    np.testing.assert_allclose(smooth, 0.12 * 0.9 ** (np.array(steps) / 62_500))
    other = rates([0, 9, 10, 25], lr_decay=0.5, lr_decay_steps=10, lr_staircase=True,
                  **flags)  # fmt: skip
    np.testing.assert_allclose(other, [0.12, 0.12, 0.06, 0.03])


def test_warm_up_and_milestones():
    flags = {
        "warmup_epochs": 2.0,
        "epochs": 10,
        "batch_size": 100,
        "lr_scaling": "none",
    }
    got = rates([0, 10, 20, 49, 50], "simclr", 1000, lr_milestones=(5.0,), **flags)
    np.testing.assert_allclose(got, [0.0, 0.015, 0.03, 0.03, 0.003])
