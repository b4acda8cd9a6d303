"""Every whole step compiles with XLA, as a TPU would have it."""

import numpy as np
import pytest
import tensorflow as tf

from tests.xla import step_program
from tfssl.config.methods import METHODS
from tfssl.core import runtime

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def float32_afterwards():
    yield
    runtime.set_precision("float32")


def dynamic_shapes(graph):
    """Tensors of unknown size, except those that only the CPU's kernels hand around."""
    found = []
    for op in step_program.all_ops(graph):
        for x in op.outputs:
            source = op.inputs[0] if op.type == "ZerosLike" else x
            reserved = source.op.type == "FusedBatchNormV3" and source.value_index == 5
            opaque = x.dtype in (tf.resource, tf.variant)
            if not (reserved or opaque or x.shape.is_fully_defined()):
                found.append((op.type, x.name))
    return found


@pytest.mark.parametrize("method", sorted(METHODS))
def test_the_step_compiles_with_static_shapes_and_no_host_ops(method):
    step, items, example = step_program.make(method)
    concrete = step_program.trace(step, example)
    types = {op.type for op in step_program.all_ops(concrete.graph)}
    assert "Conv2D" in types and not types & step_program.HOST_OPS
    assert dynamic_shapes(concrete.graph) == []
    before = {name: item.numpy() for name, item in items.items()}
    compiled = tf.function(step, jit_compile=True, autograph=False)
    first, second = compiled(*example), compiled(*example)
    assert np.isfinite(first).all() and np.isfinite(second).all()
    assert first[0] != second[0] and compiled.experimental_get_tracing_count() == 1
    moved = {
        name.split("/")[0]
        for name, item in items.items()
        if not np.array_equal(before[name], item.numpy())
    }
    followers = {"byol": {"target"}, "moco": {"key", "queue"}, "simclr": set()}[method]
    assert moved == {"step", "online", "probe", "optimizer"} | followers


@pytest.mark.parametrize("task", sorted(step_program.DENSE))
def test_steps_of_dense_tasks_lower_with_static_shapes_and_no_host_ops(task):
    """They are not compiled here, which takes minutes.

    Of `rcnn_c4` TensorFlow does not know all shapes in the loop of the suppression, but
    XLA does: "<=" stands before a size that it does not know.
    """
    step, _, example = step_program.make(task)
    concrete = step_program.trace(step, example)
    types = {op.type for op in step_program.all_ops(concrete.graph)}
    assert "Conv2D" in types and not types & step_program.HOST_OPS
    text = step_program.hlo(concrete, example)
    assert text.count(" convolution(") >= 40 and "<=" not in text


def test_a_step_without_variables_is_the_step():
    """What `test_tpu_lowering` lowers is what trains."""
    step, _, example = step_program.make("moco")
    concrete = step_program.trace(step, example)
    replay, order = step_program.functional(concrete, nested_xla=True)
    values = [tf.convert_to_tensor(v) for v in order]
    new, (row,) = tf.function(replay, autograph=False)(values, *example)
    expected = tf.function(step, autograph=False)(*example)
    np.testing.assert_allclose(row, expected, rtol=1e-5)
    for value, variable in zip(new, order, strict=True):
        np.testing.assert_allclose(value, variable, rtol=1e-5, atol=1e-6)
