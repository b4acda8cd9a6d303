"""Profiling times the parts of a step and leaves no trace in the run."""

import numpy as np
import pytest

from tests.tiny import tiny
from tfssl import build
from tfssl.config.methods import METHODS
from tfssl.train import profile_steps
from tfssl.train.profile_step import PARTS


@pytest.mark.slow
@pytest.mark.parametrize("method", sorted(METHODS))
def test_parts_are_timed_and_the_state_is_untouched(method):
    config = tiny(method)
    strategy = build.strategy(config)
    source = build.training_source(config)
    with strategy.scope():
        state = build.state(config, source.num_examples, source.num_classes)
    given = build.pretraining_input(config, source, strategy)
    before = {name: item.numpy() for name, item in state.items().items()}
    times = profile_steps(strategy, state, given.views, given.batches(0), 2)
    assert tuple(times) == PARTS and all(value > 0 for value in times.values())
    after = {name: item.numpy() for name, item in state.items().items()}
    assert after.keys() == before.keys()
    for name in before:
        np.testing.assert_array_equal(after[name], before[name], err_msg=name)
