"""The kits' numbers of features, and the official codes' names."""

import pytest

from tests import kits


@pytest.fixture(scope="session")
def official_names():
    return kits.official_names()


@pytest.fixture(scope="session")
def simclr_kit():
    return kits.kit("simclr", "features_simclr")


@pytest.fixture(scope="session")
def byol_kit():
    return kits.kit("byol", "features_byol")


@pytest.fixture(scope="session")
def moco_kit():
    return kits.kit("moco", "features_moco")
