"""The one place in the networks where Keras 2 and Keras 3 differ."""

from __future__ import annotations

import keras

UNROUNDED = {
    "experimental_autocast" if keras.__version__[0] == "2" else "autocast": False
}
"""Arguments of `add_weight` for a variable that mixed precision must not round to 8
bits when it is read."""


def forget_names() -> None:
    """Lets Keras count the names that it makes up ("conv2d_3") from the start again.

    Checkpoints hold the names of weights, so those of a model must not depend on how
    many models a process has built before.
    """
    if hasattr(keras.backend, "reset_uids"):
        keras.backend.reset_uids()  # Keras 2
    else:
        # Not public in Keras 3; what is, `clear_session`, also forgets the policy.
        from keras.src.utils import naming

        naming.reset_uids()
