"""The golden numbers of the three kits, read once."""

import pytest

from tests import kits


@pytest.fixture(scope="session")
def simclr():
    return kits.kit("simclr", "augment_simclr")


@pytest.fixture(scope="session")
def byol():
    return kits.kit("byol", "aug_byol")


@pytest.fixture(scope="session")
def moco():
    return kits.kit("moco", "pil_moco")
