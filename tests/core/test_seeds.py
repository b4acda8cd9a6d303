import numpy as np
import pytest
import tensorflow as tf

from tfssl.core import seeds


def test_numbers_are_fixed_for_ever():
    """A change would give another run from the same seed: checkpoints, papers."""
    assert seeds.stream_id("crop") == 1_841_446_299
    assert seeds.init_seed(0, "online/stem/conv/kernel") == 2_002_907_393
    np.testing.assert_array_equal(
        seeds.step_seed(7, "photometry", 12), [577_761_621, 12]
    )


def test_names_seeds_streams_and_steps_all_count():
    numbers = [seeds.init_seed(s, n) for s in range(20) for n in ("a", "b", "1:a")]
    assert len(set(numbers)) == len(numbers)
    assert all(0 <= n < 2**31 for n in numbers)
    draws = {
        float(tf.random.stateless_uniform([], seeds.step_seed(seed, stream, step)))
        for seed in (0, 1)
        for stream in ("crop", "flip")
        for step in (0, 1, 2**40)
    }
    assert len(draws) == 12


@pytest.mark.parametrize("kind", [int, np.int32, np.int64, tf.int32, tf.int64])
def test_step_may_be_a_number_or_a_tensor(kind):
    step = tf.constant(5, kind) if isinstance(kind, tf.DType) else kind(5)
    got = seeds.step_seed(3, "blur", step)
    assert got.dtype == tf.int64 and got.shape == [2]
    np.testing.assert_array_equal(got, seeds.step_seed(3, "blur", 5))


def test_integers_are_the_same_in_a_compiled_graph():
    """Floats are not: XLA makes them from other bits of the same integers."""

    def draw(step):
        seed = seeds.step_seed(1, "x", step)
        return tf.random.stateless_uniform([5], seed, None, None, tf.uint32)

    graph = tf.function(draw, jit_compile=True)
    for step in (0, 9):
        tensor = tf.constant(step, tf.int64)
        np.testing.assert_array_equal(graph(tensor), draw(tensor))
    assert graph.experimental_get_tracing_count() == 1
