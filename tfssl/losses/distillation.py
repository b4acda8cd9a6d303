"""What a student learns from a teacher: softened classes (SimCLR v2), or features."""

from __future__ import annotations

import tensorflow as tf

from tfssl.losses.normalize import as_float


def distillation_cross_entropy(
    student: tf.Tensor, teacher: tf.Tensor, temperature: float
) -> tf.Tensor:
    """Computes equation 2 of SimCLR v2 (2006.10029), times the square of temperature.

    With `P(y|x) = exp(f(x)[y] / T) / sum_y' exp(f(x)[y'] / T)` (equation 3)::

        loss = -T^2 * sum_y P_teacher(y|x) * log P_student(y|x)

    The factor is of the official code (google-research/simclr, the distillation
    notebook) and of Hinton et al. 2015: with it a gradient does not shrink as T grows.
    No gradient reaches the teacher.

    Args:
      student: Logits `[b, classes]`.
      teacher: Logits `[b, classes]`.
      temperature: T > 0; the same for both.

    Returns:
      float32 `[b]`, >= 0; least, T^2 times the teacher's entropy, where both agree.
    """
    student = as_float(student) / temperature
    teacher = tf.stop_gradient(as_float(teacher)) / temperature
    entropy = tf.nn.softmax_cross_entropy_with_logits(tf.nn.softmax(teacher), student)
    return temperature**2 * entropy
