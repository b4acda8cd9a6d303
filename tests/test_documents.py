"""What the documents say can be typed: links, flags, and command lines."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tfssl.config import command_line as cli
from tfssl.config.config import specs

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "examples/**/*.md")
    for path in ROOT.glob(pattern)
)
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")
BLOCK = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
PROGRAM = re.compile(
    r"(?:\.venv[\w-]*/bin/)?(?:python3? -m tfssl\.main|tfssl)(?= |$)(.*)"
)
FLAG = re.compile(r"(?<![\w-])--(no)?([a-z][a-z0-9_]+)")


def commands(page: Path) -> list[str]:
    """Returns the command lines of the program in a page's blocks."""
    blocks = "".join(BLOCK.findall(page.read_text()))
    lines = blocks.replace("\\\n", " ").splitlines()
    return [found[1] for line in lines if (found := PROGRAM.match(line.strip()))]


def id_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=id_of)
def test_links_lead_somewhere(page):
    lost = [
        link
        for link in LINK.findall(page.read_text())
        if not (page.parent / link).exists()
    ]
    assert not lost


@pytest.mark.parametrize("page", PAGES, ids=id_of)
def test_command_lines_are_understood(page, monkeypatch):
    monkeypatch.chdir(ROOT)
    for command in commands(page):
        words = shlex.split(command.partition(" # ")[0])
        if "--help" in words or "..." in words:
            continue
        found = cli.parse(["tfssl", *(w for w in words if w != "FILE")])
        wrong = [p for p in found.problems if "FILE" not in p]
        assert not wrong, command


def test_flags_that_are_named_exist():
    """Outside of blocks a flag in backquotes is one of ours, or of a tool of ours."""
    tools = "".join(p.read_text() for p in ROOT.glob("tools/*.py"))
    known = (
        set(specs())
        | set(re.findall(r'"--(\w+)"', tools))
        | {"help", "flagfile"}
        | {"runslow"}
    )
    text = "".join(BLOCK.sub("", p.read_text()) for p in PAGES)
    named = {
        match[2] if match[2] in known else f"{match[1] or ''}{match[2]}"
        for quoted in re.findall(r"`([^`\n]+)`", text)
        if not re.match(r"(pytest|pip|uv|git|pre-commit|docker|kubectl)\b", quoted)
        for match in FLAG.finditer(quoted)
    }
    assert sorted(named - known) == []


def test_there_is_something_to_understand():
    assert sum(len(commands(page)) for page in PAGES) >= 15
