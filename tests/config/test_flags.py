"""Every `.cfg` opens with its five facts, parses, and validates."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfssl.config import command_line as cli
from tfssl.config import modes, resolve
from tfssl.config.rules import validate
from tfssl.config.tasks import FINETUNE_RATES

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "flags").glob("*.cfg"))

PUBLISHED = {
    # From the papers and official programs, written out by hand; SimCLR's rate is
    # .075 * sqrt(4096) = 4.8, BYOL's .2 * 16 = 3.2, MoCo's .03.
    "simclr_tpu": ("lars", 4.8, 1e-4, 4096, 100, 10),
    "byol_tpu": ("lars", 3.2, 1.5e-6, 4096, 1000, 10),
    "moco_v2_gpu": ("sgd", 0.03, 1e-4, 256, 200, 0),
    "moco_v1_gpu": ("sgd", 0.03, 1e-4, 256, 200, 0),
    "moco_v2_800ep_gpu": ("sgd", 0.03, 1e-4, 256, 800, 0),
    "moco_cifar10_asym_gpu": ("sgd", 0.06, 5e-4, 512, 200, 0),
    "moco_cifar10_sym_gpu": ("sgd", 0.06, 5e-4, 512, 200, 0),
    "simclr_v1_100ep_tpu": ("lars", 4.8, 1e-6, 4096, 100, 10),
    "simclr_v1_800ep_tpu": ("lars", 4.8, 1e-6, 4096, 800, 10),
    "simclr_v1_1000ep_tpu": ("lars", 4.8, 1e-6, 4096, 1000, 10),
    "simclr_v2_r50_tpu": ("lars", 6.4, 1e-4, 4096, 800, 40),
    "simclr_v2_r152x3_sk_tpu": ("lars", 6.4, 1e-4, 4096, 800, 40),
    "simclr_v1_200ep_tpu": ("lars", 4.8, 1e-6, 4096, 200, 10),
    "simclr_v1_400ep_tpu": ("lars", 4.8, 1e-6, 4096, 400, 10),
    "simclr_v1_r50x4_tpu": ("lars", 4.8, 1e-6, 4096, 1000, 10),
    "simclr_v2_r50_no_memory_tpu": ("lars", 6.4, 1e-4, 4096, 800, 40),
    "simclr_cifar10_r50_gpu": ("lars", 4.0, 1e-6, 1024, 1000, 10),
    "byol_r200x2_tpu": ("lars", 3.2, 1.5e-6, 4096, 1000, 10),
    "byol_300ep_accumulated_tpu": ("lars", 4.8, 1e-6, 4096, 300, 10),
    "moco_v2_4gpu_gpu": ("sgd", 0.015, 1e-4, 128, 200, 0),
    "moco_v2_mlp_gpu": ("sgd", 0.03, 1e-4, 256, 200, 0),
    "simclr_cifar10_gpu": ("lars", 2.0, 1e-4, 512, 1000, 10),
    "byol_40ep_tpu": ("lars", 7.2, 1e-6, 4096, 40, 10),
    "byol_100ep_tpu": ("lars", 7.2, 1e-6, 4096, 100, 10),
    "byol_300ep_tpu": ("lars", 4.8, 1e-6, 4096, 300, 10),
    "byol_small_batch_tpu": ("lars", 0.8, 1.5e-6, 512, 1000, 10),
    "byol_imagenette_gpu": ("lars", 2.0, 1e-6, 256, 1000, 10),
}

SIMCLR_V2 = {
    # Every row of its table: depth, width, selective kernels, linear top-1.
    "r50": 71.7, "r50_sk": 74.6, "r50x2": 75.6, "r50x2_sk": 77.7,
    "r101": 73.6, "r101_sk": 76.3, "r101x2": 77.0, "r101x2_sk": 79.0,
    "r152": 74.5, "r152_sk": 77.2, "r152x2": 77.4, "r152x2_sk": 79.4,
    "r152x3_sk": 79.8,
}  # fmt: skip
BYOL_1000 = {
    "r50x2": 77.4, "r50x3": 78.2, "r50x4": 78.6, "r101": 76.4, "r152": 77.3,
    "r200": 77.8, "r101x2": 78.7, "r152x2": 79.0, "r200x2": 79.6,
}  # fmt: skip
FINETUNE = {
    # Peak rates, batch, epochs, kept layers; 1 %, 10 %, 100 % of the labels. SimCLR v1
    # B.5: .05 * 16; v2's README: .005 * 32; BYOL C.2: ten pairs.
    "simclr_v1": ([0.8], 4096, [(60,), (30,), (30,)], (0, 0, 0)),
    "simclr_v2": ([0.16], 1024, [(60,), (30,), (30,)], (1, 1, 0)),
    "byol": ([0.02, 0.04, 0.08, 0.2, 0.4], 1024, [(30, 50)] * 3, (0, 0, 0)),
}
NETS = [("simclr_v2", net, top1) for net, top1 in SIMCLR_V2.items()]
NETS += [("byol", net, top1) for net, top1 in BYOL_1000.items()]


def read(file: Path):
    return cli.parse(["tfssl", f"--flagfile={file}"])


def test_the_files_are_there():
    names = {file.stem for file in FILES}
    assert {"quickstart", *PUBLISHED} <= names
    assert {f"{m}_cifar_cpu" for m in ("byol", "simclr", "moco")} <= names


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_parses_and_validates(file):
    got = read(file)
    assert got.problems == ()
    assert validate(got.config) == []
    assert validate(resolve(got.config)) == []
    dense = file.stem.partition("_")[0]
    begins = {dense} if dense in ("detect", "segment") else {"finetune", "supervised"}
    begins = begins if got.config.init_from else {"pretrain"}
    assert modes(got.config)[0] in begins
    assert file.stem in got.config.run_dir


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_opens_with_its_five_facts(file):
    text = file.read_text()
    comment = text[: text.index("\n--")]
    for fact in ("Command:", "Hardware:", "Hours:", "Expected:", "Source:"):
        assert f"# {fact}" in comment
        assert text.count(f"# {fact}") == 1
    assert all(line.startswith("#") for line in comment.splitlines())
    if file.stem != "quickstart":
        assert f"--flagfile=flags/{file.name}" in comment
    if file.stem.endswith(("_tpu", "_gpu")):
        assert "Never run on this hardware by us" in comment


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_says_each_flag_once_and_alone(file):
    lines = [line for line in file.read_text().splitlines() if line.startswith("--")]
    assert not [line for line in lines if " --" in line]
    names = [line.partition("=")[0] for line in lines]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(("recipe", "net", "top1"), NETS)
def test_every_net_of_the_tables(recipe, net, top1):
    file = ROOT / "flags" / f"{recipe}_{net}_tpu.cfg"
    config = resolve(read(file).config)
    assert config.encoder == net.replace("r", "resnet", 1)
    assert f"Expected: {top1} %" in file.read_text()
    assert config.epochs == {"simclr_v2": 800, "byol": 1000}[recipe]
    if recipe == "simclr_v2":
        assert (config.queue_size, config.ema_momentum) == (65536, 0.999)


@pytest.mark.parametrize("row", [0, 1, 2])
@pytest.mark.parametrize("recipe", FINETUNE)
def test_published_fine_tuning(recipe, row):
    rates, batch, epochs, layers = FINETUNE[recipe]
    percent = (1, 10, 100)[row]
    file = ROOT / "flags" / f"{recipe}_finetune_{percent}pct_tpu.cfg"
    config = resolve(read(file).config)
    base, scaling = FINETUNE_RATES[config.finetune_optimizer]
    share = batch / 256 if scaling == "linear" else batch**0.5
    found = [(rate or base) * share for rate in config.finetune_learning_rate]
    assert found == pytest.approx(rates)
    assert (config.finetune_batch_size, config.finetune_weight_decay) == (batch, 0)
    assert config.finetune_epochs == epochs[row]
    assert config.finetune_layer == layers[row]
    assert config.label_fraction == pytest.approx(percent / 100)
    if recipe == "simclr_v2":
        assert all(
            net.replace("r", "resnet", 1) in file.read_text() for net in SIMCLR_V2
        )


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_numbers(name):
    config = resolve(read(ROOT / "flags" / f"{name}.cfg").config)
    scale = {
        "linear": config.batch_size / 256,
        "sqrt": config.batch_size**0.5,
    }[config.lr_scaling]
    optimizer, peak, decay, batch, epochs, warmup = PUBLISHED[name]
    assert config.learning_rate * scale == pytest.approx(peak)
    assert (config.optimizer, config.weight_decay) == (optimizer, decay)
    assert (config.batch_size, config.epochs) == (batch, epochs)
    assert config.warmup_epochs == warmup
