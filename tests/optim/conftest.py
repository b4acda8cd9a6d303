import pytest

from tests import kits


@pytest.fixture(scope="session")
def golden():
    return kits.kit
