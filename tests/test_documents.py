"""What the documents say can be typed: links, flags and commands.

`test_pages.py` follows the blocks that are marked so.
"""

from __future__ import annotations

import ast
import re
import subprocess

import pytest

import tfssl
from tests.pages import PAGES, ROOT, blocks, program_words, without_blocks
from tfssl.config import command_line as cli
from tfssl.config.config import specs

LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")
FLAG = re.compile(r"(?<![\w-])--(no)?([a-z][a-z0-9_]+)")
BLOCKS = [block for page in PAGES for block in blocks(page)]
COMMANDS = [block for block in BLOCKS if block.language != "text"]
MADE = (".venv", "serve/", "runs/")
"""Beginnings of paths that a page's own commands make."""


def id_of(page):
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=id_of)
def test_links_lead_somewhere(page):
    lost = [
        link
        for link in LINK.findall(page.read_text())
        if not (page.parent / link).exists()
    ]
    assert not lost


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.place)
def test_a_block_says_what_it_is_and_what_becomes_of_it(block):
    """Every command is followed by a test, or the mark says why not."""
    assert block.language in ("bash", "python", "text")
    assert (block.mark == "") == (block.language == "text"), "pages.py lists the marks"
    assert (block.why == "") == (block.mark in ("", "run"))
    if block.mark == "tested":
        assert (ROOT / block.why).is_file()


@pytest.mark.parametrize("block", COMMANDS, ids=lambda block: block.place)
def test_blocks_are_understood(block, monkeypatch):
    monkeypatch.chdir(ROOT)
    if block.language == "python":
        ast.parse(block.text)
        return
    subprocess.run(["bash", "-n"], input=block.text, text=True, check=True)
    for line in block.lines():
        words = program_words(line)
        if words is None:
            understand_other(line)
        elif "--help" not in words:
            found = cli.parse(["tfssl", *(w for w in words if w != "--flagfile=FILE")])
            assert not found.problems, line


def understand_other(line):
    """Files, targets of make, extras and flags of tools that a command names exist."""
    if line.startswith("make "):
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
        assert set(line.split()[1:]) <= set(targets), line
    for extra in re.findall(r"tfssl\[(\w+)\]", line):
        assert f"\n{extra} = [" in (ROOT / "pyproject.toml").read_text(), line
    for path in re.findall(r"(?<![\w/.:-])((?:[\w-]+/)+[\w-]+\.\w+)", line):
        assert path.startswith(MADE) or (ROOT / path).is_file(), line
    if tool := re.search(r"python3? ((?:tools|examples)/\w+\.py)", line):
        source = (ROOT / tool[1]).read_text()
        beams = "PipelineOptions(" in source  # what is not ours goes to Beam
        for _, name in FLAG.findall(line):
            assert beams or f'"--{name}"' in source or name in specs(), line


def test_flags_that_are_named_exist():
    """Outside of blocks a flag in backquotes is one of ours, or of a tool of ours."""
    tools = "".join(p.read_text() for p in ROOT.glob("tools/*.py"))
    known = (
        set(specs())
        | set(re.findall(r'"--(\w+)"', tools))
        | {"help", "flagfile"}
        | {"runslow"}
    )
    text = "".join(map(without_blocks, PAGES))
    named = {
        match[2] if match[2] in known else f"{match[1] or ''}{match[2]}"
        for quoted in re.findall(r"`([^`\n]+)`", text)
        if not re.match(r"(pytest|pip|uv|git|pre-commit|docker|kubectl)\b", quoted)
        for match in FLAG.finditer(quoted)
    }
    assert sorted(named - known) == []


def test_there_is_something_to_understand():
    assert sum(block.mark == "run" for block in COMMANDS) >= 8


def test_versions_agree():
    changes = (ROOT / "CHANGELOG.md").read_text()
    newest = re.search(r"^## \[(\d[^]]*)\] - (.*)$", changes, re.MULTILINE)
    cited = dict(
        re.findall(r"^([a-z-]+): (\S+)$", (ROOT / "CITATION.cff").read_text(), re.M)
    )
    assert newest[1] == cited["version"] == tfssl.__version__
    assert newest[2] == cited["date-released"]
