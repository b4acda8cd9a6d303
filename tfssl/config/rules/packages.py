"""Rules on packages that only some modes need: they are there before the first step."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import NamedTuple

from tfssl.config.config import Config, modes
from tfssl.config.method_row import Rule
from tfssl.errors import message


class Extra(NamedTuple):
    """A package that one value of a flag needs in one mode.

    Attributes:
      mode: Of the command.
      flag: Of the mode.
      value: Its value.
      module: What Python imports.
      install: What to do where it is missing.
    """

    mode: str
    flag: str
    value: str
    module: str
    install: str


EXTRAS = (
    Extra("embed", "embed_format", "parquet", "pyarrow",
          "pip install 'tfssl[parquet]', or --embed_format=npy"),
    Extra("search", "search_index", "approximate", "faiss",
          "pip install 'tfssl[search]', or --search_index=exact"),
    Extra("export", "format", "torchvision", "torch",
          "pip install 'tfssl[torch]', or --format=saved_model"),
)  # fmt: skip
"""A format or index that imports a package late has a row here."""


def _installed(config: Config) -> Iterator[str]:
    asked = modes(config)
    for extra in EXTRAS:
        if extra.mode not in asked or getattr(config, extra.flag) != extra.value:
            continue
        if importlib.util.find_spec(extra.module) is None:
            yield message(
                f"--{extra.flag}={extra.value} without the package {extra.module}",
                "it before the first step of the command",
                extra.install,
            )


FIELD_RULES: tuple[Rule, ...] = ()
RULES: tuple[Rule, ...] = (_installed,)
