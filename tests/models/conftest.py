"""Loads the rules of the golden numbers and the name tables by path."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
GOLDENS = HERE.parent / "goldens"


def load_module(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Kit:
    """One folder of golden numbers: `rule`, `cases`, `values`."""

    def __init__(self, name: str):
        folder = GOLDENS / name
        self.rule = load_module(folder / f"{name}_rule.py")
        self.cases = json.loads((folder / f"features_{name}.json").read_text())
        self.values = np.load(folder / f"features_{name}.npz")


@pytest.fixture(scope="session")
def official_names():
    return load_module(HERE / "official_names.py")


@pytest.fixture(scope="session")
def simclr_kit():
    return Kit("simclr")


@pytest.fixture(scope="session")
def byol_kit():
    return Kit("byol")


@pytest.fixture(scope="session")
def moco_kit():
    return Kit("moco")
