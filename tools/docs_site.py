"""Pages of the site that are not in docs/: a hook of MkDocs, named in mkdocs.yml.

The documents are written for the repository, where README and BUILD lie at the top and
links lead to any file. Here they become pages, a link to another file of the repository
becomes a link to a copy of it in the site, and the list of flags is made from their
specifications.
"""

from __future__ import annotations

import os.path
import posixpath
import re
from pathlib import Path

import find_tfssl  # noqa: F401  its path holds only while MkDocs loads this file
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import tfssl
from tfssl.config.config import specs
from tfssl.config.help_text import default_text, limits_text

ROOT = Path(__file__).parents[1]
PAGES = {
    "README.md": "index.md",
    "BUILD.md": "build.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
"""Documents at the top of the repository, and the pages that they become."""

LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Puts pages that mkdocs.yml does not list behind those that it does."""
    listed = str(config.nav)
    pages = sorted(page.name for page in (ROOT / "docs").glob("*.md"))
    if more := [name for name in pages if f"'{name}'" not in listed]:
        config.nav.append({"More": more})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the documents of the top folder."""
    for document, page in PAGES.items():
        text = (ROOT / document).read_text("utf-8")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(
    markdown: str, page: Page, config: MkDocsConfig, files: Files
) -> str:
    """Rewrites links out of docs/ or into it from the top; lists the flags."""
    uri = page.file.src_uri
    if uri == "flags.md":
        markdown += flags_list()
    if uri == "api.md":
        markdown += other_names(markdown)
    document = {v: k for k, v in PAGES.items()}.get(uri, f"docs/{uri}")

    def rewritten(link: re.Match[str]) -> str:
        target = posixpath.normpath(
            posixpath.join(posixpath.dirname(document), link[1])
        )
        if not (ROOT / target).is_file():
            return link[0]  # as it is: MkDocs says what it finds wrong
        goal = PAGES.get(target) or os.path.relpath(target, "docs")
        if goal.startswith(".."):
            goal = f"repository/{target}"
            if files.get_file_from_path(goal) is None:
                path = str(ROOT / target)
                files.append(File.generated(config, goal, abs_src_path=path))
        return f"]({posixpath.relpath(goal, posixpath.dirname(uri))}"

    return LINK.sub(rewritten, markdown)


def other_names(markdown: str) -> str:
    """Returns a section of the public names that the page of Python leaves out."""
    said = markdown.split()
    others = [f"::: tfssl.{n}" for n in tfssl.__all__ if f"tfssl.{n}" not in said]
    return "\n".join(["\n## More", "", *others]) if others else ""


def flags_list() -> str:
    """Returns every flag by group: default, meaning, limits."""
    lines, group = [""], ""
    for name, spec in specs().items():
        if spec.group != group:
            group = spec.group
            lines.append(f"## {group}")
        meaning = f"{spec.help}{limits_text(spec)}"
        meaning = re.sub(r"([\\*_\[])", r"\\\1", meaning).replace("<", "&lt;")
        lines.append(f"`--{name}={default_text(name, spec)}`\n:   {meaning}")
    return "\n\n".join(lines) + "\n"
