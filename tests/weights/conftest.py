"""The kits' writers with small networks, and an oracle of names of its own."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from tests import kits
from tests.kits import TESTS, load_module


def kit(name: str, writer: str):
    module = load_module(TESTS / "goldens" / name / f"{writer}.py")
    return SimpleNamespace(writer=module, rule=module.rule)


@pytest.fixture(scope="session")
def simclr_kit():
    return kit("simclr", "write_simclr_ckpt")


@pytest.fixture(scope="session")
def byol_kit():
    return kit("byol", "write_byol_pkl")


@pytest.fixture(scope="session")
def moco_kit():
    pytest.importorskip("torch", reason="PyTorch, an extra, reads MoCo's files")
    return kit("moco", "write_moco_pth")


@pytest.fixture(scope="session")
def official_names():
    return kits.official_names()


def whole(shape) -> tuple[int, ...]:
    return tuple(int(n) for n in shape)


def small_simclr(rule, depth=18, width=0.125, sk=0.0, cifar=True, layers=3, classes=10):
    """Variables of a thin network; the rule multiplies 64 by any width."""
    rows = rule.variables(depth, width, sk, cifar, layers, 16, classes)
    return [row._replace(shape=whole(row.shape)) for row in rows]


def small_byol(rule, stem_conv="initial_conv", width=0.125) -> dict:
    """What `write_byol_pkl.write` takes, of a thin ResNet-18."""
    spec = {
        module: {leaf: whole(shape) for leaf, shape in leaves.items()}
        for module, leaves in rule.param_spec(
            18, width, 24, 16, 20, 10, stem_conv
        ).items()
    }
    momentum = {
        module: {leaf: np.full(shape, 0.5, np.float32) for leaf, shape in s.items()}
        for module, s in spec.items()
    }
    return {
        "online_params": rule.make_params(spec),
        "target_params": rule.make_params(spec, "target/"),
        "online_state": rule.make_state(spec),
        "target_state": rule.make_state(spec, "target/"),
        "mu": momentum,
        "step": 312784,
        "rng": np.array([0, 1], np.uint32),
    }


def small_moco(rule, mlp=True) -> dict[str, np.ndarray]:
    """State dict of a ResNet-18 with an eighth of the channels, queue of 512 keys."""
    spec = rule.checkpoint_spec(18, 128, mlp, 4096)
    return {
        name: rule.weight(name, tuple(n // 8 if n >= 64 else n for n in shape))
        for name, shape in spec.items()
    }
