"""Follows the blocks of the documents that are marked `run`, at tiny size.

    python -m tests.follow_pages FOLDER

FOLDER, empty, becomes the reader's, with photographs. All pages share it, one process,
and the runs that they make. `FOLDER/followed.json` says of every block what went wrong,
or nothing.
"""

from __future__ import annotations

import json
import os
import re
import runpy
import shlex
import sys
import time
import traceback
from pathlib import Path

import numpy as np
from PIL import Image

from tests.pages import PAGES, ROOT, Block, blocks, program_words

FIRST = ("README", "BUILD", "own_images", "embed_search_select")
"""Pages in the order in which one who reads them would have what the next ones need."""

TINY = """\
--encoder=resnet10x0.125
--image_size=64
--augment=figure5:crop
--batch_size=4
--train_steps=1
--warmup_epochs=0
--linear_epochs=1
--finetune_epochs=1
--finetune_batch_size=4
--noonline_probe
--knn_every=0
--noprogress
--notensorboard
--noexport_verify
--nobaselines
"""
"""Flags that stand behind every command of the program, and so hold."""

SMALLER = {
    "PHOTOS": "photos",
    "folder:imagenet": "folder:photos",
    "--select=100": "--select=8",
    "--shards=1024": "--shards=2",
    "--processes=16": "--processes=1",
}
"""What stands for a reader's own names, and sizes that would take hours."""

DONE: set[str] = set()
"""Commands of earlier pages: the same again would find all done."""


def furnish() -> None:
    """Puts into the working directory what the pages take for granted."""
    random = np.random.default_rng(0)
    for split, number in (("train", 16), ("test", 6)):
        for name in ("cats", "dogs"):
            folder = Path("photos", split, name)
            folder.mkdir(parents=True)
            for i in range(number):
                pixels = random.integers(0, 256, (24, 24, 3), np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.jpg")
    Path("new.jpg").symlink_to("photos/test/cats/0.jpg")
    Path("tiny.cfg").write_text(TINY)


def follow(block: Block, names: dict[str, object]) -> None:
    """Does what a block says.

    Args:
      block: Of a page.
      names: Those that earlier blocks of Python on its page have bound.
    """
    text = block.text
    if block.language == "python":
        exec(compile(text, block.place, "exec"), names)
        return
    for line in block.lines():
        for theirs, ours in SMALLER.items():
            line = line.replace(theirs, ours)
        if line == "make quickstart":
            line = "tfssl --flagfile=flags/quickstart.cfg --dataset=shapes:32"
        line = re.sub(r"(?<=[ =])(flags|tools|examples)/", rf"{ROOT}/\1/", line)
        if line in DONE:
            continue
        DONE.add(line)
        begun = time.perf_counter()
        command(line)
        print(f"{block.place}: {time.perf_counter() - begun:.1f} s: {line}", flush=True)


def command(line: str) -> None:
    """Runs one command in this process."""
    from tfssl.main import main

    if line.startswith("make "):
        return  # test_documents.py knows the targets
    words = program_words(line)
    if words is not None:
        code = main(["tfssl", *words, "--flagfile=tiny.cfg"])
    else:
        _, script, *words = shlex.split(line)
        sys.argv = [script, *words]
        sys.path.insert(0, str(Path(script).parent))  # as Python does
        try:
            runpy.run_path(script, run_name="__main__")
            code = 0
        except SystemExit as end:
            code = end.code
    if code:
        raise RuntimeError(f"exit code {code}: {line}")


def main() -> None:
    """Follows every page, and goes on after what failed."""
    os.chdir(sys.argv[1])
    furnish()
    followed = {}
    pages = sorted(PAGES, key=lambda p: (FIRST + (p.stem,)).index(p.stem))
    for page in pages:
        names: dict[str, object] = {"__name__": page.stem}
        for block in blocks(page):
            if block.mark == "run":
                try:
                    follow(block, names)
                    followed[block.place] = ""
                except BaseException:
                    followed[block.place] = traceback.format_exc()
                    traceback.print_exc()
    Path("followed.json").write_text(json.dumps(followed, indent=1))
    sys.stdout.flush()
    os._exit(0)  # as `tfssl.main.program`, which says why


if __name__ == "__main__":
    main()
