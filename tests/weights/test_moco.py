"""MoCo's and torchvision's files, both formats, there and back, and hostile ones."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest

from tests.weights.conftest import small_moco
from tfssl import build
from tfssl.errors import CheckpointError, TfsslError
from tfssl.main import main
from tfssl.models import Encoder, moco_head
from tfssl.weights import open_published

pytestmark = pytest.mark.slow  # PyTorch takes seconds to import
NAME = "resnet18x0.125"


def write(kit, path, state, fmt="zip", location="cpu"):
    import torch

    content = kit.writer.content(18, queue=64, optimizer="full")
    content["state_dict"] = {
        name: torch.from_numpy(np.array(value)) for name, value in state.items()
    }
    kit.writer.write(path, content, fmt, location)
    return path


def expected(state, official_names, mlp):
    encoder = Encoder(NAME, family="moco", image_size=None, seed=0)
    head = moco_head(64, out=16, mlp=mlp, seed=0)
    ours = {"queue/keys": state["module.queue"].T, "queue/head": np.int64(0)}
    for role, prefix in (("online", "module.encoder_q."), ("key", "module.encoder_k.")):
        for v in encoder.variables:
            value = state[prefix + official_names.moco_variable(v.path, mlp)]
            ours[f"{role}/encoder/{v.path}"] = official_names.moco_layout(value)
        for v in head.variables:
            name = official_names.moco_variable(f"projector/{v.path}", mlp)
            value = official_names.moco_layout(state[prefix + name])
            ours[f"{role}/projector/{v.path}"] = value
    return ours


@pytest.mark.parametrize("mlp", [False, True])
@pytest.mark.parametrize(("fmt", "place"), [("zip", "cpu"), ("legacy", "cuda:0")])
def test_every_tensor_goes_where_it_belongs(
    moco_kit, official_names, tmp_path, fmt, place, mlp
):
    state = small_moco(moco_kit.rule, mlp)
    published = open_published(
        "moco", write(moco_kit, tmp_path / "m", state, fmt, place)
    )
    assert published.network.spec.name == NAME
    assert published.network.heads == {
        "projector_layers": 1 + mlp,
        "projector_dim": 16,
        "queue_size": 512,
    }
    assert fmt in published.form and published.facts["epoch"] == 200
    assert published.matched.ignored["state of the optimiser"] == ["optimizer"]
    tensors, want = published.matched.read(), expected(state, official_names, mlp)
    assert set(tensors) == set(want)
    for name, value in want.items():
        np.testing.assert_array_equal(tensors[name], value, err_msg=name)


def test_what_does_not_fit_is_named(moco_kit, tmp_path):
    state = small_moco(moco_kit.rule)
    del state["module.encoder_k.layer2.0.bn1.bias"]
    state["module.encoder_q.extra.weight"] = np.ones(3, np.float32)
    with pytest.raises(CheckpointError) as caught:
        open_published("moco", write(moco_kit, tmp_path / "m", state))
    assert "missing encoder_k.layer2.0.bn1.bias [16]" in str(caught.value)
    assert "surplus encoder_q.extra.weight [3]" in str(caught.value)


def test_torchvision_there_and_back_is_the_same_file(moco_kit, tmp_path):
    import torch

    whole = moco_kit.rule.make_encoder(18)
    state = {n: v for n, v in whole.items() if not n.startswith("fc.")}
    state |= {"fc.weight": np.ones((7, 512), np.float32)}
    state |= {"fc.bias": np.arange(7, dtype=np.float32)}
    path, run_dir = tmp_path / "r18.pth", tmp_path / "run"
    torch.save({n: torch.from_numpy(np.array(v)) for n, v in state.items()}, path)
    flags = [f"--source=torchvision:{path}", f"--run_dir={run_dir}", "--image_size=64"]
    assert main(["tfssl", "--mode=convert", *flags]) == 0
    argv = ["tfssl", "--mode=export", "--format=torchvision", f"--run_dir={run_dir}"]
    assert main(argv) == 0
    back = torch.load(run_dir / "torchvision" / "encoder.pth", weights_only=True)
    assert set(back) == set(state)
    for name, value in state.items():
        if not name.endswith("num_batches_tracked"):
            np.testing.assert_array_equal(back[name].numpy(), value, err_msg=name)
    equal_outputs(back, run_dir)


def equal_outputs(state, run_dir):
    """A ResNet-18 in plain torch, strictly loaded, against our encoder."""
    import torch

    images = np.random.default_rng(3).normal(size=(2, 75, 57, 3)).astype(np.float32)
    theirs = plain_resnet18(torch)
    theirs.load_state_dict(
        {n: v for n, v in state.items() if not n.startswith("fc.")}, strict=True
    )
    with torch.no_grad():
        pixels = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
        want = theirs.eval()(pixels).numpy()
    encoder = build.load(run_dir).encoder
    free = Encoder("resnet18", family="moco", image_size=None, seed=0)
    free.set_weights(encoder.get_weights())
    got = np.asarray(free(images, training=False))
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4 * np.abs(want).max())


def plain_resnet18(torch):
    """torchvision's ResNet-18 without its classifier, by its names."""
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self, inside, out, stride):
            super().__init__()
            self.conv1 = nn.Conv2d(inside, out, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(out)
            self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(out)
            self.downsample = None
            if stride > 1:
                conv = nn.Conv2d(inside, out, 1, stride, bias=False)
                self.downsample = nn.Sequential(conv, nn.BatchNorm2d(out))

        def forward(self, x):
            y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
            return (y + (self.downsample(x) if self.downsample else x)).relu()

    class ResNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
            self.bn1 = nn.BatchNorm2d(64)
            inside = 64
            for stage in range(4):
                out, stride = 64 * 2**stage, 1 if stage == 0 else 2
                layer = nn.Sequential(Block(inside, out, stride), Block(out, out, 1))
                setattr(self, f"layer{stage + 1}", layer)
                inside = out

        def forward(self, x):
            x = nn.functional.max_pool2d(self.bn1(self.conv1(x)).relu(), 3, 2, 1)
            x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
            return x.mean((2, 3))

    return ResNet()


# --- hostile files ----------------------------------------------------------------


class Shell:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("kind", ["moco", "torchvision"])
@pytest.mark.parametrize("fmt", ["zip", "legacy", "pickle"])
@pytest.mark.parametrize("make", ["reduce", "nested", "in_state"])
def test_refused_and_not_executed(moco_kit, tmp_path, kind, fmt, make):
    import torch

    marker, path = tmp_path / "ran", tmp_path / "evil.pth.tar"
    shell = Shell(f"touch {marker}")
    content = {
        "reduce": shell,
        "nested": {"state_dict": {"conv1.weight": [torch.zeros(1), shell]}},
        "in_state": {"epoch": shell, "state_dict": {"conv1.weight": torch.zeros(1)}},
    }[make]
    if fmt == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=fmt == "zip")
    with pytest.raises(CheckpointError) as caught:
        open_published(kind, path)
    assert not marker.exists()
    assert "nothing in it was executed" in str(caught.value)
    assert "weights_only" not in str(caught.value)


def test_without_pytorch_it_says_what_to_install(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(TfsslError, match=r"pip install 'tfssl\[torch\]'"):
        open_published("moco", tmp_path / "m.pth.tar")
