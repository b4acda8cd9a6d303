import numpy as np
import pytest
import tensorflow as tf

from tests.tiny import tiny
from tfssl import build
from tfssl.core import runtime, variables
from tfssl.train import make_run_steps
from tfssl.train.loss_scale import PATIENCE, START, LossScale


def guard(scale, norm):
    calls = []
    skipped = scale.guard(
        tf.constant(norm), lambda: calls.append("up"), lambda: calls.append("skip")
    )
    return calls, bool(skipped)


def numbers(scale):
    return [int(v.numpy()) for v in scale.items().values()]


def test_good_steps_update_and_at_last_double():
    scale = LossScale()
    assert guard(scale, 1.0) == (["up"], False)
    assert numbers(scale) == [START, 1, 0]
    scale.good_steps.assign(PATIENCE - 1)
    assert guard(scale, 1.0) == (["up"], False)
    assert numbers(scale) == [2 * START, 0, 0]


@pytest.mark.parametrize("norm", [np.inf, np.nan])
def test_overflow_skips_and_halves(norm):
    scale = LossScale()
    scale.good_steps.assign(7)
    assert guard(scale, norm) == (["skip"], True)
    assert numbers(scale) == [START / 2, 0, 1]


def test_at_the_smallest_scale_it_is_a_divergence():
    scale = LossScale()
    scale.scale.assign(1.0)
    assert guard(scale, np.inf) == (["skip"], False)
    assert numbers(scale)[0] == 1


@pytest.fixture
def float16():
    runtime.set_precision("mixed_float16")
    yield
    runtime.set_precision("float32")


def steps(method, count, prepare=lambda state: None):
    config = tiny(method, precision="mixed_float16")
    source = build.training_source(config)
    strategy = tf.distribute.get_strategy()
    state = build.state(config, source.num_examples, source.num_classes)
    prepare(state)
    given = build.pretraining_input(config, source, strategy, on_device=False)
    run_steps = make_run_steps(strategy, state, given.views)
    batches = given.batches(0)
    start = {name: v.numpy() for name, v in state.items().items()}
    log = run_steps(batches, tf.constant(count, tf.int64))
    return state, start, {name: v.numpy() for name, v in log.items()}


@pytest.mark.slow
def test_a_skipped_step_moves_only_what_counts_steps(float16):
    """At 2**60 everything overflows: nothing is learned, nothing is lost."""
    state, start, log = steps(
        "moco", 2, lambda state: state.loss_scale.scale.assign(2.0**60)
    )
    assert np.isfinite(log["loss"]).all()
    assert log["gradient_norm"].tolist() == [0, 0]
    assert log["skipped_updates"].tolist() == [1, 2]
    assert log["loss_scale"].tolist() == [2.0**60, 2.0**59]
    moved = {n for n, v in state.items().items() if not np.array_equal(v, start[n])}
    statistics = {n for n in moved if "moving" in n or n.startswith("loss_scale/")}
    assert moved - statistics == {"step", "optimizer/sgd/iteration"}


@pytest.mark.slow
@pytest.mark.parametrize("method", ["simclr", "byol"])
def test_float32_where_it_matters(float16, method):
    # A scale that this net's gradients of some hundred do not overflow.
    state, start, log = steps(method, 3, lambda s: s.loss_scale.scale.assign(8.0))
    assert log["skipped_updates"][-1] == 0 and np.isfinite(log["loss"]).all()
    assert log["gradient_norm"].max() < 1e4  # divided by the scale again
    changed = [n for n, v in state.items().items() if not np.array_equal(v, start[n])]
    assert any("stem_conv/kernel" in n for n in changed)
    # Weights, BatchNorm statistics, targets, velocities.
    for name, value in start.items():
        assert value.dtype in (np.float32, np.int64, np.int32), name
    encoder = state.method.encoder
    # The images are normalised before they are rounded to the layers' precision.
    types = {la.compute_dtype for la in encoder.layers if la.name != "normalize"}
    assert types == {"float16"}
    assert {variables.raw(v).dtype for v in encoder.weights} == {tf.float32}


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_batch_norm_takes_its_moments_in_float32(policy):
    """256 and 258: squares, 65536 and more, are infinite in float16."""
    from tfssl.models import BatchNorm

    layer = BatchNorm(momentum=0.0, dtype=policy)
    x = 256.0 + 2.0 * tf.cast(tf.range(4096) % 2, tf.float32)[:, None]
    layer(tf.cast(tf.repeat(x, 4, 1), policy.removeprefix("mixed_")), training=True)
    np.testing.assert_allclose(layer.moving_mean, 257 * np.ones(4), atol=1e-3)
    np.testing.assert_allclose(layer.moving_variance, np.ones(4), atol=1e-3)


def test_lars_norms_are_float32_for_float16_gradients():
    """A sum of squares of 300 times 300**2 overflows float16 at 65504."""
    from tfssl.optim import LARS, apply_update

    kernel = tf.Variable(np.full([300, 1], 3.0, np.float32), name="kernel")
    optimizer = LARS(1.0, momentum=0.0, exclude=())
    optimizer.build([kernel])
    gradient = tf.cast(tf.fill([300, 1], 300.0), tf.float16)
    apply_update(optimizer, [gradient], [kernel])
    # |w| / |g| = 1 / 100, times 300, times the trust coefficient .001
    np.testing.assert_allclose(kernel, np.full([300, 1], 3 - 0.003), rtol=1e-6)
