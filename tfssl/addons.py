"""TensorFlow Addons, an extra, beside a TensorFlow that it does not know.

Its development ended in May 2024 with 0.23, which expects the Keras 2 that TensorFlow
held at the time. That Keras goes on as tf-keras; one module that moved is stood in for.
Nothing in the package needs it: the tests take it as an independent oracle.
"""

from __future__ import annotations

import importlib
import os
import sys
import types

from tfssl.errors import TfsslError, message

_LEGACY = "TF_USE_LEGACY_KERAS"


def load() -> types.ModuleType:
    """Imports `tensorflow_addons`, and leaves Keras 3 as it is.

    Sets `TF_USE_LEGACY_KERAS=1`, which makes `tf.keras` Keras 2 for the whole process;
    `import keras` stays Keras 3. Addons' own compiled operations (the resampler) do
    not load on TensorFlow 2.16 and later, all else does.

    Raises:
      TfsslError: It is not installed or has no wheel for this Python, or TensorFlow
        was imported without that variable.
    """
    if "tensorflow" in sys.modules and os.environ.get(_LEGACY) != "1":
        raise TfsslError(
            message(
                "TensorFlow imported before TensorFlow Addons",
                f"{_LEGACY}=1 in the environment when TensorFlow is imported",
                f"tfssl.addons.load() first, or {_LEGACY}=1 before Python starts",
            )
        )
    os.environ[_LEGACY] = "1"
    try:
        keras_tensor = importlib.import_module("tf_keras.src.engine.keras_tensor")
        engine = types.ModuleType("keras.src.engine")
        engine.__dict__["keras_tensor"] = keras_tensor
        sys.modules.setdefault("keras.src.engine", engine)
        sys.modules.setdefault("keras.src.engine.keras_tensor", keras_tensor)
        return importlib.import_module("tensorflow_addons")
    except ImportError as error:
        version = ".".join(map(str, sys.version_info[:2]))
        raise TfsslError(
            message(
                f"no TensorFlow Addons for Python {version} here ({error})",
                "tensorflow-addons 0.23, which has wheels for Python 3.10 and 3.11, "
                "and tf-keras of TensorFlow's version",
                "pip install 'tfssl[addons]' in Python 3.11",
            )
        ) from error
