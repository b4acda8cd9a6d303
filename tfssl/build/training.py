"""The state that a pre-training moves."""

from __future__ import annotations

import tensorflow as tf

from tfssl.build.networks import METHOD_BUILDERS
from tfssl.build.optimizer import learning_rate, optimizer, total_steps
from tfssl.config import Config
from tfssl.train import RunState


def state(config: Config, num_examples: int, num_classes: int | None) -> RunState:
    """Method and optimiser of the run; call inside the strategy's scope."""
    steps = total_steps(config, num_examples)
    method = METHOD_BUILDERS[config.method](config, num_classes, steps, num_examples)
    factor = tf.Variable(1.0, trainable=False, name="rate_factor")
    rate = learning_rate(config, num_examples, steps)
    moved_by = optimizer(config, lambda step: rate(step) * factor)
    return RunState.create(method, moved_by, factor)
