"""The documents as the tests read them: blocks with their marks, and commands.

A comment before a block says what the tests do with it:

    <!-- run -->                            it is followed, at tiny size
    <!-- parse: needs several machines -->  it is only understood, for that reason
    <!-- tested: tests/test_examples.py --> that test follows it

Blocks of `text` are no commands, and have no mark.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "examples/**/*.md")
    for path in ROOT.glob(pattern)
)

_BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>run|parse|tested)(?:: (?P<why>[^\n]*))? -->\n+)?"
    r"^ *```(?P<language>\w*)\n(?P<text>.*?)^ *```",
    re.MULTILINE | re.DOTALL,
)
_PROGRAM = re.compile(
    r"(?:\.venv[\w-]*/bin/)?(?:python3? -m tfssl\.main|tfssl)(?= |$)(.*)"
)


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
      place: `"docs/serving.md:46"`, the line of its first fence.
      language: Behind the fence; `text` is no command.
      text: What stands between the fences.
      mark: `run`, `parse`, `tested`, or empty.
      why: What the mark says behind the colon.
    """

    place: str
    language: str
    text: str
    mark: str
    why: str

    def lines(self) -> list[str]:
        """The commands of a block of bash, without comments, each on one line."""
        joined = self.text.replace("\\\n", " ").splitlines()
        return [line for raw in joined if (line := uncommented(raw))]


def blocks(page: Path) -> list[Block]:
    """Returns the fenced blocks of a page."""
    text = page.read_text("utf-8")
    name = page.relative_to(ROOT)
    return [
        Block(
            place=f"{name}:{text.count(chr(10), 0, found.start('language')) + 1}",
            language=found["language"],
            text=found["text"],
            mark=found["mark"] or "",
            why=found["why"] or "",
        )
        for found in _BLOCK.finditer(text)
    ]


def without_blocks(page: Path) -> str:
    """Returns a page's text between its blocks."""
    return _BLOCK.sub("", page.read_text("utf-8"))


def uncommented(line: str) -> str:
    """Returns a command without the comment behind it."""
    return re.sub(r"(^|\s+)# .*$", "", line).strip()


def program_words(line: str) -> list[str] | None:
    """Returns the arguments of a command of the program; None of another command."""
    found = _PROGRAM.match(line)
    return None if found is None else shlex.split(found[1])
