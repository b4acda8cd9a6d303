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

from tfssl.config import command_line as cli
from tfssl.config import startup
from tfssl.config.rules import validate

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "tools" / "notebooks").glob("*.ipynb"))


def test_they_are_there():
    assert {path.stem for path in NOTEBOOKS} == {"colab_tpu", "own_images"}


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


@pytest.mark.slow
def test_own_images(tmp_path, monkeypatch):
    photos = tmp_path / "photos"
    for name, hue in (("dogs", 40), ("cats", 200)):
        (photos / name).mkdir(parents=True)
        for i in range(12):
            pixels = np.full((24, 24, 3), (hue, 8 * i, 255 - hue), np.uint8)
            Image.fromarray(pixels).save(photos / name / f"{i}.jpg")
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
    said = "".join(
        output.get("text", "")
        for cell in book.cells
        for output in cell.get("outputs", [])
    )
    assert "('cats', 'dogs')" in said
    assert (tmp_path / "runs/mine/finetune/saved_model/saved_model.pb").is_file()


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
