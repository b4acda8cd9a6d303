"""The tools that write TFRecord files, as a user runs them."""

import subprocess
import sys
from pathlib import Path

import pytest

from tfssl.data import open_source

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow


def run(tool, *words):
    return subprocess.run(
        [sys.executable, f"tools/{tool}", *words],
        capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip


def test_processes_write_what_one_writes(tmp_path, files):
    files.tree(tmp_path / "x", ["a", "b"], 10, "train", size=(40, 30))
    files.tree(tmp_path / "x", ["a", "b"], 1, "val")
    common = [f"--dataset=folder:{tmp_path}/x", "--shards=4", "--shorter_side=16"]
    for out, processes in (("one", 1), ("two", 2)):
        words = [*common, f"--out={tmp_path}/{out}", f"--processes={processes}"]
        done = run("make_tfrecords.py", *words, "--verify")
        assert done.returncode == 0, done.stderr
        assert "20 records in 4 files" in done.stdout
    for path in (tmp_path / "one").glob("*.tfrecord"):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
    source = open_source(
        f"tfrecord:{tmp_path}/two/{{split}}-*.tfrecord", "train", image_size=8
    )
    assert source.num_examples == 20 and source.class_names == ("a", "b")
    done = run("make_tfrecords.py", *common[:2], f"--out={tmp_path}/one")
    assert done.returncode == 1 and "another --out" in done.stderr


def test_beam_writes_the_same(tmp_path, files):
    pytest.importorskip(
        "apache_beam", reason="not a dependency: pip install apache-beam"
    )
    files.tree(tmp_path / "x", ["a", "b"], 10, "train", size=(40, 30))
    files.tree(tmp_path / "x", ["a", "b"], 1, "val")
    common = [f"--dataset=folder:{tmp_path}/x", "--shards=3"]
    beam = run("make_tfrecords_beam.py", *common, f"--out={tmp_path}/beam",
               "--runner=DirectRunner")  # fmt: skip
    assert beam.returncode == 0, beam.stderr
    one = run("make_tfrecords.py", *common, f"--out={tmp_path}/one", "--processes=1")
    assert one.returncode == 0, one.stderr
    names = [path.name for path in (tmp_path / "one").glob("*.tfrecord")]
    assert len(names) == 3
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (
            tmp_path / "beam" / name
        ).read_bytes()
