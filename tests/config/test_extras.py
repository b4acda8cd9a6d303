"""What a command needs beside requirements.txt is known before its first step."""

import importlib.util
import re
from pathlib import Path

import pytest

from tests.config.test_config import config
from tfssl.config import tables
from tfssl.config.rules import validate
from tfssl.errors import TfsslError

ROOT = Path(__file__).parents[2]
NEEDS = [
    ({"mode": "pretrain,export", "format": "onnx"}, "tf2onnx", "onnx"),
    ({"mode": "export", "format": "onnx"}, "onnxruntime", "onnx"),
    ({"mode": "pretrain,export", "format": "litert"}, "ai_edge_litert", "litert"),
    (
        {
            "mode": "export",
            "format": "torchvision",
            "encoder": "resnet18",
            "image_size": 224,
            "encoder_family": "moco",
        },
        "torch",
        "torch",
    ),
    ({"mode": "detect", "image_size": 128}, "pycocotools", "dense"),
    ({"mode": "pretrain,embed", "embed_format": "parquet"}, "pyarrow", "parquet"),
    (
        {"mode": "embed,search", "query": "x.png", "search_index": "approximate"},
        "faiss",
        "search",
    ),
]


def finds(monkeypatch, there):
    found = {True: object(), False: None}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: found[there(name)])


@pytest.mark.parametrize(("flags", "module", "extra"), NEEDS)
def test_a_missing_extra_is_one_problem(flags, module, extra, monkeypatch):
    finds(monkeypatch, lambda name: name != module)
    (problem,) = validate(config(**flags))
    assert f"without {module}" in problem
    assert f"try pip install 'tfssl[{extra}]'" in problem
    finds(monkeypatch, lambda name: True)
    assert validate(config(**flags)) == []


def test_a_broken_extra_says_why(monkeypatch):
    finds(monkeypatch, lambda name: True)
    with pytest.raises(TfsslError, match="format=onnx and No module named 'no_such'"):
        tables.import_extra("no_such.part", "onnx", "format=onnx")


def test_extras_are_those_of_the_package():
    text = (ROOT / "pyproject.toml").read_text()
    part = re.search(r"optional-dependencies\]\n(.*?)\n\n", text, re.S)[1]
    assert set(tables.EXTRAS) <= set(re.findall(r"^(\w+) =", part, re.M))
