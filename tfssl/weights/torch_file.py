"""Tensors of PyTorch files, by PyTorch's own loader restricted to tensors.

Nothing in a file is executed: `weights_only=True` builds tensors and containers only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfssl.core.torch_extra import import_torch
from tfssl.errors import CheckpointError, message
from tfssl.weights.published import Tensor


def load(path: Path, what: str) -> Any:
    """Reads a `.pth` or `.pth.tar` file, of the zip format or the one before it.

    Args:
      path: The file.
      what: As the user named it.

    Returns:
      Its content, tensors on the CPU.

    Raises:
      CheckpointError: It asks for more than tensors, or is damaged.
      TfsslError: PyTorch is missing.
    """
    torch = import_torch(what)
    try:
        # Not memory-mapped: then each storage is freed as soon as it is converted.
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:
        # PyTorch's own text advises weights_only=False, which runs what a file says.
        asked = re.search(r"GLOBAL ([\w.]+)", str(error))
        got = (
            f"{path}, which asks for {asked[1]}"
            if asked
            else f"{path}: {_first(error)}"
        )
        raise CheckpointError(
            message(
                got,
                "a PyTorch file of nothing but tensors; nothing in it was executed",
                "another copy of the file, or the right kind in source=KIND:PATH",
            )
        ) from None


def _first(error: Exception) -> str:
    line = str(error).strip().partition("\n")[0][:120]
    return line if line and "weights_only" not in line else type(error).__name__


def tensors_of(state: Mapping[str, Any], prefix: str = "") -> dict[str, Tensor]:
    """The tensors of a state dict.

    Args:
      state: Name to tensor.
      prefix: What to drop from the beginning of names that have it.

    Raises:
      CheckpointError: An entry is no tensor.
    """
    found = {}
    for name, value in state.items():
        if not isinstance(name, str) or not hasattr(value, "detach"):
            raise CheckpointError(
                message(
                    f"{type(value).__name__} under {name!r} in the state dict",
                    "tensors only",
                    "another kind in source=KIND:PATH",
                )
            )
        short = name.removeprefix(prefix)
        found[short] = Tensor(
            tuple(value.shape),
            str(value.dtype).removeprefix("torch."),
            lambda value=value: _numpy(value),
            short,
        )
    return found


def _numpy(value: Any) -> np.ndarray:
    if value.is_floating_point():
        value = value.float()  # NumPy has no bfloat16
    return value.detach().numpy()
