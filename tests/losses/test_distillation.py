"""Equations 2 and 3 of SimCLR v2, written out in NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from tfssl.losses import distillation_cross_entropy

RANDOM = np.random.default_rng(0)
STUDENT, TEACHER = RANDOM.normal(size=(2, 5, 4)).astype(np.float32) * 3


def probabilities(logits, temperature):
    """Equation 3, a row and a class at a time."""
    return np.array(
        [[np.exp(f / temperature) / sum(np.exp(g / temperature) for g in row)
          for f in row] for row in logits.astype(np.float64)]
    )  # fmt: skip


def slow(student, teacher, temperature):
    """Equation 2, times T^2, a row at a time."""
    p, q = probabilities(teacher, temperature), probabilities(student, temperature)
    return temperature**2 * np.array(
        [
            -sum(a * np.log(b) for a, b in zip(*rows, strict=True))
            for rows in zip(p, q, strict=True)
        ]
    )


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_equals_the_equations(temperature):
    got = distillation_cross_entropy(STUDENT, TEACHER, temperature)
    np.testing.assert_allclose(got, slow(STUDENT, TEACHER, temperature), rtol=1e-5)


def test_the_gradient_is_of_the_student_alone_and_does_not_shrink_with_temperature():
    student, teacher = tf.Variable(STUDENT), tf.Variable(TEACHER)
    norms = []
    for temperature in (1.0, 50.0):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(
                distillation_cross_entropy(student, teacher, temperature)
            )
        of_student, of_teacher = tape.gradient(loss, [student, teacher])
        assert of_teacher is None
        want = temperature * (
            probabilities(STUDENT, temperature) - probabilities(TEACHER, temperature)
        )
        np.testing.assert_allclose(of_student, want, atol=2e-5)
        norms.append(float(tf.norm(of_student)))
    assert norms[1] > 0.3 * norms[0]


def test_half_precision_is_computed_in_float32():
    small = tf.cast(STUDENT, tf.bfloat16), tf.cast(TEACHER, tf.bfloat16)
    got = distillation_cross_entropy(*small, 0.1)
    want = slow(*(x.numpy().astype(np.float32) for x in small), 0.1)
    assert got.dtype == tf.float32
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
