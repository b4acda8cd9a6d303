"""The notebooks are valid and run, but for what needs a TPU or installs."""

import json
import os
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.weights.conftest import kit, small_byol
from tfssl.config import Config, resolve, startup
from tfssl.config import command_line as cli
from tfssl.config.rules import validate

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "tools" / "notebooks").glob("*.ipynb"))


def test_they_are_there():
    assert {path.stem for path in NOTEBOOKS} == {
        "colab_gpu",
        "colab_tpu",
        "own_images",
        "published_weights",
    }


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_a_notebook_of_format_4(path):
    book = json.loads(path.read_text())
    assert (book["nbformat"], book["nbformat_minor"]) == (4, 5)
    assert {"cells", "metadata"} <= set(book)
    assert len({cell["id"] for cell in book["cells"]}) == len(book["cells"])
    for cell in book["cells"]:
        assert cell["cell_type"] in ("markdown", "code")
        assert all(isinstance(line, str) for line in cell["source"])
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_nbformat_agrees(path):
    nbformat = pytest.importorskip("nbformat")
    nbformat.validate(nbformat.read(path, as_version=4))


def executed(name, settings, tmp_path, monkeypatch):
    """Runs a notebook with other settings, but for its cells that install."""
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    book = nbformat.read(ROOT / "tools" / "notebooks" / f"{name}.ipynb", as_version=4)
    tags = [cell.metadata.get("tags", []) for cell in book.cells]
    changed = "\n".join(f"{key} = {value!r}" for key, value in settings.items())
    place = tags.index(["parameters"])
    for cell, tag in zip(book.cells, tags, strict=True):
        if "skip-execution" in tag:
            cell.source = ""
    book.cells.insert(place + 1, nbformat.v4.new_code_cell(changed))
    nbclient.NotebookClient(
        book, timeout=600, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    return book


def said(book):
    """What the cells of an executed notebook printed."""
    outputs = (out for cell in book.cells for out in cell.get("outputs", []))
    return "".join(out.get("text", "") for out in outputs)


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    for name, hue in (("dogs", 40), ("cats", 200)):
        (folder / name).mkdir(parents=True)
        for i in range(12):
            pixels = np.full((24, 24, 3), (hue, 8 * i, 255 - hue), np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.jpg")
    return folder


@pytest.mark.slow
def test_own_images(photos, tmp_path, monkeypatch):
    book = executed(
        "own_images",
        {
            "PHOTOS": str(photos),
            "TRAINING": {
                "method": "simclr",
                "encoder": "resnet10x0.125_cifar",
                "image_size": 16,
                "batch_size": 8,
                "train_steps": 2,
            },
            "FINETUNING": {"finetune_epochs": 1, "finetune_batch_size": 8},
            "CHOOSE": 3,
        },
        tmp_path,
        monkeypatch,
    )
    assert "('cats', 'dogs')" in said(book)
    assert (tmp_path / "runs/mine/finetune/saved_model/saved_model.pb").is_file()


@pytest.mark.slow
def test_published_weights(photos, tmp_path, monkeypatch):
    byol = kit("byol", "write_byol_pkl")
    byol.writer.write(tmp_path / "small.pkl", small_byol(byol.rule), "dill2020")
    settings = {
        "SOURCE": "byol:small.pkl",
        "PHOTOS": str(photos),
        "IMAGE_SIZE": 64,
        "LINEAR": {"linear_epochs": 1, "linear_batch_size": 8},
        "FINETUNING": {"finetune_epochs": 1, "finetune_batch_size": 8},
    }
    text = said(executed("published_weights", settings, tmp_path, monkeypatch))
    assert "resnet18x0.125 CC BY-NC 4.0" in text
    assert "[True  True]" in text.replace("[ True", "[True")
    assert "Licence of the published weights: CC BY-NC 4.0" in text


@pytest.mark.slow
def test_colab_gpu_with_a_cpu(tmp_path, monkeypatch):
    settings = {
        "RUN_DIR": "runs/cifar10",
        "DATASET": "shapes:64",
        "TRAINING": {
            "method": "simclr",
            "encoder": "resnet18x0.125_cifar",
            "image_size": 16,
            "batch_size": 16,
            "train_steps": 2,
            "precision": "mixed_float16",
        },
        "LINEAR": {"linear_epochs": 1, "linear_batch_size": 16},
    }
    text = said(executed("colab_gpu", settings, tmp_path, monkeypatch))
    assert "no GPU: this will take days" in text or "GPU:0" in text
    assert re.search(r"linear 0\.\d+ of", text)
    assert "runs/cifar10/saved_model" in text


def test_settings_that_the_gpu_notebook_has_are_flags():
    """No run there: Colab's own values are only resolved."""
    cells = json.loads((ROOT / "tools/notebooks/colab_gpu.ipynb").read_text())["cells"]
    (cell,) = (c for c in cells if c["metadata"].get("tags") == ["parameters"])
    names: dict = {}
    exec("".join(cell["source"]), names)
    given = {"dataset": names["DATASET"], "run_dir": names["RUN_DIR"]}
    for mode, flags in (("pretrain", names["TRAINING"]), ("linear", names["LINEAR"])):
        assert validate(resolve(Config(mode=mode, **given, **flags))) == []


@pytest.mark.slow
def test_colab_tpu_with_a_cpu(tmp_path, monkeypatch):
    flags = "--flagfile={}/flags/quickstart.cfg --mode=pretrain,report --train_steps=2"
    flags += " --dataset=shapes:64 --encoder=resnet10x0.125_cifar --batch_size=16"
    settings = {"PYTHON": sys.executable, "FLAGS": flags.format(ROOT)}
    book = executed("colab_tpu", settings, tmp_path, monkeypatch)
    shown = str(book.cells[-1].outputs)
    assert "<iframe" in shown
    with pytest.raises(Exception, match="exit code 2"):
        executed("colab_tpu", settings | {"FLAGS": "--sed=1"}, tmp_path, monkeypatch)


@pytest.mark.parametrize("backend", ["module://nowhere.backend_inline", "agg", ""])
def test_the_backend_of_a_notebook_is_not_taken_on(backend, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", backend)
    startup.prepare_environment()
    assert os.environ["MPLBACKEND"] == ("agg" if backend else "")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_command_lines_parse(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    cells = json.loads(path.read_text())["cells"]
    text = "\n".join("".join(c["source"]) for c in cells)
    for flags in re.findall(r'^FLAGS = "(.*)"$', text, re.MULTILINE):
        parsed = cli.parse(["tfssl", *shlex.split(flags)])
        assert parsed.problems == () and validate(parsed.config) == []
    assert ("-m tfssl.main" in text) == ("FLAGS = " in text)
