"""Every block of the documents that is marked `run` can be followed, at tiny size."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.pages import PAGES, ROOT, blocks

FOLLOWED = {
    str(page.relative_to(ROOT)): [b.place for b in blocks(page) if b.mark == "run"]
    for page in PAGES
}


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """What went wrong with each block: all pages share a folder and a process."""
    folder = tmp_path_factory.mktemp("reader")
    done = subprocess.run(
        [sys.executable, "-m", "tests.follow_pages", folder],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    print(done.stdout)
    return json.loads((folder / "followed.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page, places in FOLLOWED.items() if places])
def test_page_can_be_followed(page, followed):
    assert {place: followed[place] for place in FOLLOWED[page]} == dict.fromkeys(
        FOLLOWED[page], ""
    )
