"""The site builds without a warning, has every page and public name, loads nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tfssl.config.config import specs

ROOT = Path(__file__).parents[1]
PACKAGES = ("tfssl", "tfssl.losses", "tfssl.optim", "tfssl.models")
TOP = ("index", "build", "contributing", "changelog")


class Found(HTMLParser):
    """Anchors of a page, where its links lead, and what a browser loads for it."""

    def __init__(self, page: Path):
        super().__init__()
        self.anchors, self.links, self.loaded = {""}, [], []
        self.feed(page.read_text("utf-8"))

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.anchors.add(attrs.get("id"))
        if tag == "a":
            self.links += filter(None, [attrs.get("href")])
        elif tag == "link" and attrs.get("rel") in ("stylesheet", "icon"):
            self.loaded.append(attrs["href"])
        elif tag in ("img", "script"):
            self.loaded += filter(None, [attrs.get("src")])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("mkdocs", reason="pip install -r requirements-docs.txt")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--site-dir", folder],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_site(site):
    pages = {page.name: Found(page) for page in site.glob("*.html")}
    wanted = {*TOP, *(page.stem for page in (ROOT / "docs").glob("*.md"))}
    assert {f"{name}.html" for name in wanted} | {"404.html"} == set(pages)
    for name, found in pages.items():
        assert not [load for load in found.loaded if urlsplit(load).netloc], name
        for link in found.links:
            path, anchor = urlsplit(link).path, unquote(urlsplit(link).fragment)
            if urlsplit(link).scheme or name == "404.html":
                continue
            assert (site / unquote(path or name)).is_file(), (name, link)
            if (path or name) in pages:
                assert anchor in pages[path or name].anchors, (name, link)
    documented = pages["api.html"].anchors
    text = (site / "api.html").read_text("utf-8")
    for package in PACKAGES:
        tree = ast.parse((ROOT / package.replace(".", "/") / "__init__.py").read_text())
        (names,) = (
            ast.literal_eval(node.value)
            for node in tree.body
            if isinstance(node, ast.Assign) and node.targets[0].id == "__all__"
        )
        ends = {a for a in documented if a and a.startswith(f"{package}.")}
        lost = [n for n in names if not any(a.endswith(f".{n}") for a in ends)]
        assert not [n for n in lost if f"<code>{n}</code>" not in text]
    text = (site / "flags.html").read_text("utf-8")
    assert not [name for name in specs() if f"--{name}=" not in text]
