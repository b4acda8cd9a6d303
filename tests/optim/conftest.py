import importlib.util
import json
import pathlib
import types

import numpy as np
import pytest

GOLDENS = pathlib.Path(__file__).parent.parent / "goldens"


@pytest.fixture(scope="session")
def golden():
    """golden("simclr", "ntxent_simclr") -> settings, arrays, the rule's module."""

    def load(kit, name):
        folder = GOLDENS / kit
        settings = json.loads((folder / f"{name}.json").read_text())
        arrays = dict(np.load(folder / f"{name}.npz"))
        spec = importlib.util.spec_from_file_location(
            f"{kit}_rule", folder / f"{kit}_rule.py"
        )
        rule = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(rule)
        return types.SimpleNamespace(settings=settings, arrays=arrays, rule=rule)

    return load
