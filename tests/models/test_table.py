"""The table of variables against the networks that are really built."""

from __future__ import annotations

import pytest

from tfssl.config.encoder_name import parse_encoder
from tfssl.models import FAMILIES, Encoder
from tfssl.models.table import encoder_table

NAMES = [
    "resnet18x0.25",
    "resnet10x0.125_cifar",
    "resnet18x0.125_cifar",
    "resnet50x0.25_sk",
]
NAMES += [
    pytest.param(name, marks=pytest.mark.slow)
    for name in ("resnet34x0.5", "resnet50x0.25", "resnet50x0.25_sk_cifar")
]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", NAMES)
def test_rows_are_the_layers_of_the_network(name, family):
    model = Encoder(name, family=family, image_size=None, seed=0)
    built = {v.path.split("/")[0]: tuple(v.shape) for v in model.trainable_variables}
    rows = encoder_table(parse_encoder(name), FAMILIES[family])
    assert dict(rows) == built
    assert len(rows) == len(built)
