"""Full-size official files: features of the official code, memory, and time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.weights.conftest import TESTS, kit
from tfssl import build
from tfssl.config.inherit import stored_config
from tfssl.main import main
from tfssl.runs import checkpoint

pytestmark = pytest.mark.slow


def golden(name, case):
    folder = TESTS / "goldens" / name
    table = json.loads((folder / f"features_{name}.json").read_text())
    cases = table.get("cases") or table["features"]
    return (
        next(c for c in cases if c.get("id", c.get("name")) == case),
        np.load(folder / f"features_{name}.npz"),
    )


def convert(source, run_dir, size):
    argv = ["tfssl", "--mode=convert", f"--source={source}", f"--run_dir={run_dir}"]
    assert main([*argv, f"--image_size={size}"]) == 0
    return stored_config(str(run_dir))


def features(config, images):
    """As any evaluation computes them, from images in [0, 1]."""
    return build.load(config.run_dir).encode(images).numpy()


def l2_error(got, want):
    got = np.asarray(got, np.float64)[:, : want.shape[1]]
    return np.linalg.norm(got - want) / np.linalg.norm(want)


@pytest.mark.parametrize(
    ("case", "form"),
    [
        ("r18_cifar_32_tame", "tf1"),
        ("r18_cifar_32_tame", "tf2"),
        ("r50_1x_64_tame", "tf1"),
        ("r50_1x_sk_64_tame", "tf2"),
    ],
)
def test_simclr(tmp_path, case, form):
    tools = kit("simclr", "write_simclr_ckpt")
    facts, values = golden("simclr", case)
    prefix = tmp_path / "model.ckpt-250228"
    tools.writer.write(
        str(prefix), facts["arch"], form, facts["variant"], ema=form == "tf1"
    )
    config = convert(f"simclr:{prefix}", tmp_path / "run", facts["size"])
    inputs = facts["images"]
    images = tools.rule.fixed_images(inputs["n"], facts["size"], inputs["seed"])
    got = features(config, images)
    want = values[f"{case}/final_avg_pool"]
    error = np.abs(got[:, : want.shape[1]] - want).max() / np.abs(want).max()
    assert error < 1e-4


@pytest.mark.parametrize(
    ("case", "style"), [("r18_64", "by_reference"), ("r50_64", "dill2020")]
)
def test_byol(tmp_path, case, style):
    tools = kit("byol", "write_byol_pkl")
    facts, values = golden("byol", case)
    path = tmp_path / "pretrain.pkl"
    tools.writer.write(path, tools.writer.content(facts["depth"]), style)
    config = convert(f"byol:{path}", tmp_path / "run", facts["size"])
    images = tools.rule.fixed_images(4, facts["size"], facts["image_seed"])
    got = features(config, images)
    assert l2_error(got, values[f"{case}/pooled"]) < 1e-5


@pytest.mark.parametrize(
    ("case", "fmt"),
    [("r18_v1_64", "legacy"), ("r50_v2_64", "zip"), ("r50_v2_64_key", "legacy")],
)
def test_moco(tmp_path, case, fmt):
    pytest.importorskip("torch", reason="PyTorch, an extra, reads MoCo's files")
    tools = kit("moco", "write_moco_pth")
    facts, values = golden("moco", case)
    path = tmp_path / "m.pth.tar"
    content = tools.writer.content(facts["depth"], mlp=facts["mlp"])
    tools.writer.write(path, content, fmt, "cuda:0")
    config = convert(f"moco:{path}", tmp_path / "run", facts["size"])
    run = build.load(config.run_dir)
    if facts["encoder"] == "k":
        tensors = checkpoint.read(run.checkpoint, "key/encoder/")
        for v in run.encoder.weights:
            v.assign(tensors[f"key/encoder/{v.path}"])
    images = tools.rule.fixed_images(4, facts["size"], facts["image_seed"])
    assert l2_error(run.encode(images).numpy(), values[f"{case}/pooled"]) < 1e-5


def supervised(state):
    """MoCo's query encoder as a torchvision ResNet-50 of 1000 classes: 102 MB."""
    prefix = "module.encoder_q."
    own = {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}
    weight = own["conv1.weight"].new_zeros([1000, 2048])
    return own | {"fc.weight": weight, "fc.bias": weight[:, 0].clone()}


@pytest.mark.parametrize("kind", ["simclr", "byol", "moco", "torchvision"])
def test_memory_and_time_of_a_resnet50(tmp_path, kind):
    if kind == "simclr":
        tools = kit("simclr", "write_simclr_ckpt")
        path = tmp_path / "model.ckpt-250228"
        tools.writer.write_tf1(str(path), tools.rule.variables(50))
    elif kind == "byol":
        tools = kit("byol", "write_byol_pkl")
        path = tmp_path / "pretrain.pkl"
        tools.writer.write(path, tools.writer.content(50))
    else:
        pytest.importorskip("torch", reason="PyTorch, an extra, reads MoCo's files")
        tools = kit("moco", "write_moco_pth")
        path = tmp_path / "m.pth.tar"
        content = tools.writer.content(50, mlp=kind == "moco")
        if kind == "torchvision":
            content = supervised(content["state_dict"])
        tools.writer.write(path, content, "legacy")
    script = Path(__file__).with_name("convert_and_measure.py")
    argv = [sys.executable, str(script), f"{kind}:{path}", str(tmp_path / "run")]
    root = TESTS.parent
    said = subprocess.run(
        argv,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    measured = json.loads(said.splitlines()[-1])
    print(measured)
    assert measured["code"] == 0
    assert measured["growth_over_file"] < 3
    assert measured["seconds"] < 120
