"""The one place in the networks where Keras 2 and Keras 3 differ."""

from __future__ import annotations

import keras

UNROUNDED = {
    "experimental_autocast" if keras.__version__[0] == "2" else "autocast": False
}
"""Arguments of `add_weight` for a variable that mixed precision must not round to 8
bits when it is read."""
