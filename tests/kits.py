"""The golden numbers of the official codes, and the rules they were made by."""

from __future__ import annotations

import functools
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np

TESTS = Path(__file__).parent


def load_module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))  # a writer imports its rule by name
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module


@functools.cache
def kit(name: str, numbers: str) -> SimpleNamespace:
    """kit("simclr", "ntxent_simclr") -> its `cases`, `arrays`, and the `rule`."""
    folder = TESTS / "goldens" / name
    return SimpleNamespace(
        rule=load_module(folder / f"{name}_rule.py"),
        cases=json.loads((folder / f"{numbers}.json").read_text()),
        arrays=np.load(folder / f"{numbers}.npz"),
    )


def official_names() -> ModuleType:
    return load_module(TESTS / "models" / "official_names.py")
