"""The notebooks are valid and their command lines are ones that we accept."""

import json
import shlex
from pathlib import Path

import pytest

from tfssl.config import command_line as cli
from tfssl.config.rules import validate

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "tools" / "notebooks").glob("*.ipynb"))


def test_they_are_there():
    assert "colab_tpu" in {path.stem for path in NOTEBOOKS}


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


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_command_lines_parse(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    cells = json.loads(path.read_text())["cells"]
    text = "\n".join("".join(c["source"]) for c in cells).replace("\\\n", " ")
    commands = [line for line in text.splitlines() if "-m tfssl.main" in line]
    assert commands
    for command in commands:
        words = shlex.split(command.split("-m tfssl.main")[1])
        parsed = cli.parse(["tfssl", *words])
        assert parsed.problems == () and validate(parsed.config) == []
