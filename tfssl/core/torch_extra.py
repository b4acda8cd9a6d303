"""PyTorch, an extra that only its own file formats need; imported when asked for."""

from __future__ import annotations

import re
from types import ModuleType

from tfssl.errors import TfsslError, message

_SAFE_SINCE = (2, 6)
"""Before PyTorch 2.6 `weights_only=True` could be made to run code (CVE-2025-32434)."""


def import_torch(what: str) -> ModuleType:
    """Imports PyTorch.

    Args:
      what: What it is needed for, as the user named it.

    Returns:
      The module `torch`.

    Raises:
      TfsslError: It is not installed, or too old to be safe.
    """
    try:
        import torch
    except ImportError as error:
        raise TfsslError(
            message(
                f"{what} without PyTorch ({error})",
                "PyTorch 2.6 or later, which only such files need",
                "pip install 'tfssl[torch]', or pip install -r requirements-torch.txt",
            )
        ) from error
    version = tuple(int(part) for part in re.findall(r"\d+", torch.__version__)[:2])
    if version < _SAFE_SINCE:
        raise TfsslError(
            message(
                f"PyTorch {torch.__version__} for {what}",
                "2.6 or later: before, a file could run code while it was loaded",
                "pip install -U 'torch>=2.6'",
            )
        )
    return torch
