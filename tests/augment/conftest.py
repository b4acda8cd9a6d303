"""The golden numbers of the three kits, read once."""

from __future__ import annotations

import importlib.util
import json
import pathlib
import types

import numpy as np
import pytest

GOLDENS = pathlib.Path(__file__).parent.parent / "goldens"


def _kit(kit: str, name: str) -> types.SimpleNamespace:
    path = GOLDENS / kit / f"{kit}_rule.py"
    spec = importlib.util.spec_from_file_location(f"augment_{kit}_rule", path)
    rule = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(rule)
    return types.SimpleNamespace(
        rule=rule,
        cases=json.loads((GOLDENS / kit / f"{name}.json").read_text()),
        arrays=np.load(GOLDENS / kit / f"{name}.npz"),
    )


@pytest.fixture(scope="session")
def simclr():
    return _kit("simclr", "augment_simclr")


@pytest.fixture(scope="session")
def byol():
    return _kit("byol", "aug_byol")


@pytest.fixture(scope="session")
def moco():
    return _kit("moco", "pil_moco")
