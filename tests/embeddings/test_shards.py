"""Shards on disk: every format gives its rows back; a kill loses and doubles none."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tfssl.embeddings import shard_files
from tfssl.embeddings.reading import Embeddings
from tfssl.embeddings.shard_files import FORMATS, Shard
from tfssl.embeddings.writing import MANIFEST, PLAN, Writer
from tfssl.errors import DataError, RunDirectoryError

NAMES = ["a cat", 'a "dog", big']
KEYS = ["plain.png", 'comma, "quote".png', "line\nbreak.png", "mäßig/ñ.png"]
BAD = os.fsdecode(b"latin-\xe9.png")


def plan(total=10, **more):
    return {
        "format": "npy",
        "dtype": "float32",
        "shard_rows": 4,
        "num_examples": total,
        "class_names": NAMES,
        "weights": "abc",
        **more,
    }


def example(index):
    """The one row, or reason, that an example has."""
    if index % 7 == 5:
        return None
    return np.random.default_rng(index).standard_normal(3).astype(np.float32)


def shard(start, stop):
    rows = {i: example(i) for i in range(start, stop)}
    good = [i for i, row in rows.items() if row is not None]
    return Shard(
        np.array(good, np.int64) + 100,
        [f"{i}-{KEYS[i % 4]}" for i in good],
        np.array([i % 3 - 1 for i in good], np.int64),
        {
            "features": np.array([rows[i] for i in good]).reshape(-1, 3),
            "probabilities": np.array([[i, 1.0] for i in good]).reshape(-1, 2),
        },
        [(f"{i}.png", "empty file") for i in rows if rows[i] is None],
    )


def write_all(folder, **more):
    writer = Writer(folder, plan(**more))
    for number in writer.missing():
        writer.write(number, shard(*writer.bounds(number)))
    return writer.finish()


def check(table, total):
    good = [i for i in range(total) if example(i) is not None]
    assert table.rows.ids.tolist() == [i + 100 for i in good]
    assert table.rows.keys == [f"{i}-{KEYS[i % 4]}" for i in good]
    assert table.rows.labels.tolist() == [i % 3 - 1 for i in good]
    wanted = [f"{i}.png" for i in range(total) if example(i) is None]
    assert [key for key, _ in table.rows.unreadable] == wanted
    rows = np.array([example(i) for i in good])
    np.testing.assert_array_equal(table.load(), rows)
    some = np.array([len(good) - 1, 0, 0, len(good) // 2])
    np.testing.assert_array_equal(table.take(some), rows[some])


@pytest.mark.parametrize("kind", FORMATS)
def test_gives_back_what_was_written(tmp_path, kind):
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    manifest = write_all(tmp_path, format=kind, total=23)
    table = Embeddings(tmp_path)
    check(table, 23)
    assert (manifest["rows"], manifest["unreadable"], len(table)) == (20, 3, 20)
    assert table.dimension == 3
    np.testing.assert_array_equal(table.load("probabilities")[:2], [[0, 1], [1, 1]])
    assert [table.class_name(i) for i in (0, 1, 2)] == ["", *NAMES]
    assert not (tmp_path / PLAN).exists()


@pytest.mark.parametrize("kind", FORMATS)
def test_a_shard_of_nothing_but_unreadable_files(tmp_path, kind, monkeypatch):
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    monkeypatch.setitem(globals(), "example", lambda i: None if i < 4 else np.ones(3))
    write_all(tmp_path, format=kind, total=6)
    assert len(Embeddings(tmp_path)) == 2
    np.testing.assert_array_equal(Embeddings(tmp_path).load(), np.ones((2, 3)))


@pytest.mark.parametrize("kind", FORMATS)
def test_names_that_are_not_utf8(tmp_path, kind):
    """Of files and of classes; every reader of Parquet takes what stands there."""
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    writer = Writer(tmp_path, plan(total=1, format=kind) | {"class_names": ["\udcff"]})
    row = {"features": np.ones((1, 2), np.float32)}
    writer.write(0, Shard(np.array([1]), [BAD], np.array([0]), row))
    writer.finish()
    table = Embeddings(tmp_path)
    (key,) = table.rows.keys
    assert key == BAD if kind != "parquet" else key.isprintable()
    assert table.class_name(0) == "\udcff"


def test_rows_stand_beside_their_vectors_in_plain_files(tmp_path):
    write_all(tmp_path)
    with open(tmp_path / "rows-00001.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["id"] == "104" and rows[0]["class_name"] == NAMES[0]
    assert np.load(tmp_path / "features-00001.npy").shape == (3, 3)
    text = (tmp_path / "unreadable-00001.csv").read_text()
    assert text.splitlines() == ["key,reason", "5.png,empty file"]


def test_parquet_holds_fixed_size_lists_and_the_plan(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    write_all(tmp_path, format="parquet", dtype="float16")
    table = shard_files.parquet().parquet.read_table(
        tmp_path / "embeddings-00000.parquet"
    )
    assert table.schema.field("features").type == arrow.list_(arrow.float16(), 3)
    assert table["class_name"].to_pylist() == [None, *NAMES, None]
    assert json.loads(table.schema.metadata[b"tfssl"])["weights"] == "abc"


def test_half_precision_halves_the_file(tmp_path):
    write_all(tmp_path, dtype="float16")
    assert np.load(tmp_path / "features-00000.npy").dtype == np.float16
    np.testing.assert_allclose(Embeddings(tmp_path).load()[0], example(0), rtol=1e-3)


def test_too_large_for_half_precision_is_an_error(tmp_path):
    writer = Writer(tmp_path, plan(total=1, dtype="float16"))
    row = {"features": np.full((1, 2), 1e5, np.float32)}
    with pytest.raises(DataError, match="embed_dtype=float32"):
        writer.write(0, Shard(np.array([1]), ["a"], np.array([-1]), row))


def test_goes_on_where_it_stopped(tmp_path):
    writer = Writer(tmp_path, plan())
    writer.write(1, shard(4, 8))
    (tmp_path / "features-00002.npy").write_bytes(b"half")  # its table is missing
    (tmp_path / ".writing-rows-00002.csv").write_bytes(b"half")
    before = (tmp_path / "rows-00001.csv").stat().st_mtime_ns
    writer = Writer(tmp_path, plan())
    assert writer.missing() == [0, 2] and not writer.finished
    write_all(tmp_path)
    assert (tmp_path / "rows-00001.csv").stat().st_mtime_ns == before
    check(Embeddings(tmp_path), 10)
    assert not list(tmp_path.glob(".writing-*"))
    assert Writer(tmp_path, plan()).missing() == []


def test_another_plan_is_refused_before_and_after_the_end(tmp_path):
    Writer(tmp_path, plan())
    for _ in range(2):
        with pytest.raises(RunDirectoryError, match='weights .*"abc", not "new"'):
            Writer(tmp_path, plan(weights="new"))
        write_all(tmp_path)


def test_a_shard_with_too_few_rows_is_refused(tmp_path):
    writer = Writer(tmp_path, plan())
    with pytest.raises(RunDirectoryError, match="4 together"):
        writer.write(0, shard(0, 3))


def test_no_manifest_before_all_shards_are_there(tmp_path):
    writer = Writer(tmp_path, plan())
    writer.write(0, shard(0, 4))
    with pytest.raises(RunDirectoryError, match="2 missing shards"):
        writer.finish()
    with pytest.raises(DataError, match="not finished"):
        Embeddings(tmp_path)


def test_no_embeddings(tmp_path):
    with pytest.raises(DataError, match="mode=embed first"):
        Embeddings(tmp_path)


def test_the_digest_tells_other_numbers(tmp_path):
    one = write_all(tmp_path / "one")["sha256"]
    assert write_all(tmp_path / "two")["sha256"] == one
    assert write_all(tmp_path / "three", total=11)["sha256"] != one


CHILD = """
import sys
from tests.embeddings.test_shards import Writer, plan, shard
writer = Writer(sys.argv[1], plan(total=400))
print("ready", flush=True)
for number in writer.missing():
    writer.write(number, shard(*writer.bounds(number)))
    print(number, flush=True)
writer.finish()
"""


@pytest.mark.slow
def test_killed_ten_times_every_row_is_there_once(tmp_path):
    rng = np.random.default_rng(0)
    for kill in range(11):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE
        )
        child.stdout.readline()
        if kill < 10:
            for _ in range(rng.integers(1, 9)):
                child.stdout.readline()
            time.sleep(rng.uniform(0, 0.01))  # anywhere within a shard
            child.send_signal(signal.SIGKILL)
        child.communicate()
        assert (tmp_path / MANIFEST).exists() == (kill == 10)
    assert child.returncode == 0
    check(Embeddings(tmp_path), 400)
