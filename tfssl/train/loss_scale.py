"""Dynamic loss scaling: float16 gradients neither vanish nor overflow for long."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

START = 2.0**15
PATIENCE = 2000
SMALLEST = 1.0


class LossScale:
    """The factor s of `d(s * loss)`, doubled and halved as the gradients allow.

    Micikevicius et al. (1710.03740), section 3.2, and Keras' `LossScaleOptimizer`: a
    step whose gradients are not finite is left out and halves the scale; after
    `PATIENCE` good steps in a row it doubles. The scale is a power of two, so that
    multiplying and dividing by it rounds nothing in float32.

    At the smallest scale, 1, gradients that are not finite are no longer an accident
    of float16: the step reports them, and the loop stops as for any divergence.
    """

    def __init__(self) -> None:
        def variable(value, dtype, name):
            return tf.Variable(value, dtype=dtype, trainable=False, name=name)

        self.scale = variable(START, tf.float32, "loss_scale")
        self.good_steps = variable(0, tf.int64, "loss_scale_good_steps")
        self.skipped = variable(0, tf.int64, "loss_scale_skipped")

    def items(self) -> dict[str, tf.Variable]:
        """Name to variable, for checkpoints. The names are the file format."""
        return {
            "loss_scale/scale": self.scale,
            "loss_scale/good_steps": self.good_steps,
            "loss_scale/skipped": self.skipped,
        }

    def guard(
        self,
        norm: tf.Tensor,
        update: Callable[[], object],
        otherwise: Callable[[], object],
    ) -> tf.Tensor:
        """Runs the update if the gradients are finite, and moves the scale.

        Args:
          norm: Global norm of the gradients, already divided by the scale, equal on
            every replica: finite only if all of them are.
          update: Everything that a skipped step leaves out. It runs under a condition,
            so nothing in it may talk to other replicas.
          otherwise: What a skipped step does.

        Returns:
          bool scalar: the step was skipped, and nothing is wrong.
        """
        finite = tf.math.is_finite(norm)
        scale = tf.convert_to_tensor(self.scale)
        skipped = tf.logical_and(~finite, scale > SMALLEST)

        def good() -> tf.Tensor:
            update()
            count = self.good_steps + 1
            grown = count >= PATIENCE
            self.scale.assign(tf.where(grown, scale * 2.0, scale))
            self.good_steps.assign(tf.where(grown, tf.zeros_like(count), count))
            return tf.constant(True)

        def bad() -> tf.Tensor:
            otherwise()
            self.scale.assign(tf.maximum(scale / 2.0, SMALLEST))
            self.good_steps.assign(0)
            self.skipped.assign_add(1)
            return tf.constant(False)

        tf.cond(finite, good, bad)
        return skipped
