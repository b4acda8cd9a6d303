"""Packages that a later mode needs are looked for before the first one begins."""

import importlib.util

import pytest

from tfssl.config import Config
from tfssl.config.rules import packages, validate


@pytest.mark.parametrize("extra", packages.EXTRAS, ids=lambda extra: extra.module)
def test_what_is_missing_is_said_before_the_first_step(monkeypatch, extra):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    flags = {extra.flag: extra.value, "run_dir": "r", "query": "q.png"}
    asked = Config(mode=f"pretrain,{extra.mode}", **flags)
    (problem,) = [p for p in validate(asked) if "without the package" in p]
    assert f"--{extra.flag}={extra.value}" in problem and extra.module in problem
    other, value = extra.install.rpartition("--")[2].split("=")
    followed = Config(mode=f"pretrain,{extra.mode}", **{**flags, other: value})
    for config in (followed, Config(mode="pretrain", **flags)):
        assert not [p for p in validate(config) if "without the package" in p]


@pytest.mark.parametrize("extra", packages.EXTRAS, ids=lambda extra: extra.module)
def test_each_is_an_extra_of_the_package(extra):
    name = extra.install.partition("tfssl[")[2].partition("]")[0]
    with open("pyproject.toml", encoding="utf-8") as file:
        assert f"\n{name} = [" in file.read()
