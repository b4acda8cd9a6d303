"""A method from elsewhere: `--method=MODULE:NAME`, the import path of its row."""

from __future__ import annotations

import functools
import importlib
import re

from tfssl.config.method_row import MethodRow
from tfssl.config.startup import prepare_environment, without_chatter
from tfssl.errors import ConfigError, message

_DOTTED = r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*"
_PATH = re.compile(f"({_DOTTED}):({_DOTTED})", re.ASCII)


@functools.cache
def outside_row(method: str) -> MethodRow:
    """Imports the row of a method that is not ours.

    The module may import TensorFlow (a method in one file does), so what TensorFlow
    reads when it loads is set before.

    Args:
      method: `MODULE:NAME`, for example `"examples.simsiam:SIMSIAM"`.

    Raises:
      ConfigError: It is not of this form, cannot be imported, or is no `MethodRow`.
    """
    match = _PATH.fullmatch(method)
    if match is None:
        raise ConfigError(
            message(
                f"--method={method}",
                "MODULE:NAME, the import path of a method row",
                "--method=examples.simsiam:SIMSIAM",
            )
        )
    prepare_environment()
    try:
        with without_chatter():
            row = getattr(importlib.import_module(match[1]), match[2])
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            message(
                f"--method={method}: {error}",
                "a module that Python can import, and a MethodRow in it",
                "PYTHONPATH=FOLDER, the folder that the module is in",
            )
        ) from error
    if not isinstance(row, MethodRow):
        raise ConfigError(
            message(
                f"--method={method}, which is a {type(row).__name__}",
                "a tfssl.config.method_row.MethodRow",
                "the name of the module's row",
            )
        )
    return row
