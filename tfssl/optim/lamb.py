"""LAMB (You et al. 2020, 1904.00962), with Keras' decay or the paper's."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfssl.optim.exclude import DecayByPath


@keras.saving.register_keras_serializable(package="tfssl")
class Lamb(DecayByPath, keras.optimizers.Lamb):
    """`keras.optimizers.Lamb` whose decay is excluded by path, see `excluded`.

    With m and v Adam's two moments without their bias, and 1 for the ratio where a
    norm is 0::

        u = m / (sqrt(v) + epsilon)
        w = w - lr * weight_decay * w;  w = w - lr * |w| / |u| * u       decay="keras"
        u = u + weight_decay * w;       w = w - lr * |w| / |u| * u       decay="paper"

    The second is algorithm 2 of the paper and the rule of TensorFlow Addons. As in
    both, what is excluded has neither decay nor ratio there; Keras' rule takes the
    decay alone from it.

    Args:
      *args: As of `keras.optimizers.Lamb`.
      weight_decay: Coefficient of `w`, >= 0.
      decay: `"keras"` or `"paper"`.
      **kwargs: As of `keras.optimizers.Lamb`, and `exclude`.

    Raises:
      ValueError: Another `decay`.
    """

    def __init__(
        self,
        *args: Any,
        weight_decay: float | None = None,
        decay: str = "keras",
        **kwargs: Any,
    ):
        if decay not in ("keras", "paper"):
            raise ValueError(f"got decay={decay!r}; expected keras or paper; try keras")
        outside = weight_decay if decay == "keras" else None
        super().__init__(*args, weight_decay=outside, **kwargs)
        self.decay = decay
        self._coefficient = weight_decay

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Moves one variable."""
        if self.decay == "keras":
            super().update_step(gradient, variable, learning_rate)
            return
        index = self._get_variable_index(variable)
        w = tf.convert_to_tensor(variable)
        g, rate = tf.cast(gradient, w.dtype), tf.cast(learning_rate, w.dtype)
        step = tf.cast(self.iterations + 1, w.dtype)
        moments = []
        for slot, new, beta in (
            (self._momentums[index], g, self.beta_1),
            (self._velocities[index], tf.square(g), self.beta_2),
        ):
            self.assign(slot, tf.convert_to_tensor(slot) * beta + new * (1.0 - beta))
            moments.append(tf.convert_to_tensor(slot) / (1.0 - tf.pow(beta, step)))
        update = moments[0] / (tf.sqrt(moments[1]) + self.epsilon)
        if not self._free[index]:
            update += (self._coefficient or 0.0) * w
            w_norm, u_norm = tf.norm(w), tf.norm(update)
            known = tf.logical_and(w_norm > 0, u_norm > 0)
            rate *= tf.where(known, tf.math.divide_no_nan(w_norm, u_norm), 1.0)
        self.assign_sub(variable, rate * update)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments to make the same optimiser again."""
        mine = {"weight_decay": self._coefficient, "decay": self.decay}
        return super().get_config() | mine
