"""Two hundred files, many hostile: training runs through, and each is named once."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.gallery import jpeg_header, png_header
from tests.tiny import COMMON
from tfssl.main import main

pytestmark = pytest.mark.slow


def hostile_tree(root, files):
    """200 files in two classes; returns the names of those that cannot be read."""
    good, bad = [], []
    for copy in range(4):
        names = files.hostile(root / "a" / f"{copy}")
        good += [f"a/{copy}/{name}" for name in names[0]]
        bad += [f"a/{copy}/{name}" for name in names[1]]
    jpeg = files.encoded(files.picture(9, 30, 20), "JPEG")
    png = files.encoded(files.picture(9, 30, 20), "PNG")
    (root / "b").mkdir()
    for n in range(12):
        for name, data, readable in (
            (f"wrong_{n}.png", jpeg, True),  # the content decides, not the name
            (f"wrong_{n}.jpg", png, True),
            (f"cut_{n}.jpg", jpeg[: 40 + 20 * n], False),
            (f"zero_{n}.png", bytes(1000 * n), False),
            (f"bomb_{n}.png", png_header(20000, 20000), False),
            (f"bomb_{n}.jpg", jpeg_header(20000, 20000), False),
        ):
            (root / "b" / name).write_bytes(data)
            (good if readable else bad).append(f"b/{name}")
    for n in range(200 - len(good) - len(bad)):
        (root / "b" / f"plain_{n}.png").write_bytes(png)
        good.append(f"b/plain_{n}.png")
    (root / "a" / "loop").symlink_to(root, target_is_directory=True)
    (root / "b" / "self").symlink_to(root / "b" / "self")
    (root / "b" / "other").symlink_to(root / "a", target_is_directory=True)
    (root / "b" / "dead.jpg").symlink_to(root / "nowhere.jpg")
    return good, [*bad, "b/dead.jpg", "b/self"]


def test_training_runs_through_and_names_each_once(tmp_path, files):
    root = tmp_path / "x"
    good, bad = hostile_tree(root, files)
    assert len(good) + len(bad) == 202  # two of them are links that lead nowhere
    run_dir = tmp_path / "run"
    flags = {
        **COMMON, "dataset": f"folder:{root}", "train_split": "all", "method": "simclr",
        "run_dir": run_dir, "train_steps": 26, "projector_dim": 16,
        "progress": "false", "tensorboard": "false",
    }  # fmt: skip
    assert main(["tfssl", *(f"--{k}={v}" for k, v in flags.items())]) == 0
    results = json.loads((run_dir / "results.json").read_text())
    listed = [row["path"] for row in results["skipped_files"]]
    # 26 steps of 16 are two epochs of the 200 and a bit.
    assert listed == sorted(str(root / name) for name in bad)
    assert all(row["reason"] for row in results["skipped_files"])
    reasons = {Path(r["path"]).name: r["reason"] for r in results["skipped_files"]}
    assert "max_image_pixels" in reasons["bomb_3.jpg"]
    rows = [json.loads(line) for line in (run_dir / "log.jsonl").open()]
    assert rows[-1]["skipped_files"] == len(bad)
    counts = [row["skipped_files"] for row in rows]
    assert counts == sorted(counts)
    assert rows[-1]["step"] == 26


AS_NOBODY = """
import os, sys
import tensorflow as tf
from tfssl.data import Folder, parse_split
from tfssl.data.rows import fetch_or_mask
for user in (0, 65534):  # what Python imports late, it imports as root
    os.seteuid(user)
    source = Folder(sys.argv[1], parse_split("all"))
    rows = tf.data.Dataset.range(source.num_examples)
    readable = [int(ok) for _, ok in rows.map(lambda i: fetch_or_mask(source, i))]
    print(source.num_examples, sum(readable))
for row in source.skipped():
    print(os.path.basename(row["path"]), row["reason"])
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
def test_files_and_folders_without_rights(files):
    root = Path(tempfile.mkdtemp())
    try:
        files.tree(root, ["a", "b", "c"], 3)
        (root / "a" / "000.png").chmod(0)
        (root / "c").chmod(0)
        root.chmod(0o755)
        done = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, str(root)],
            capture_output=True, text=True, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == [
            "9 9", "6 5", "000.png Permission denied", "c Permission denied",
        ]  # fmt: skip
    finally:
        shutil.rmtree(root)
