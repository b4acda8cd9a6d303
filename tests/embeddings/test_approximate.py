"""The approximate index: built once, for these embeddings, with a measured recall."""

import json
import sys

import numpy as np
import pytest

from tfssl.embeddings.approximate import DESCRIPTION, Approximate, overlap
from tfssl.embeddings.neighbours import Exact
from tfssl.embeddings.reading import Embeddings
from tfssl.embeddings.shard_files import Shard
from tfssl.embeddings.writing import Writer
from tfssl.errors import DataError


def write(folder, rows, size=500):
    plan = {"format": "npy", "dtype": "float32", "shard_rows": size,
            "num_examples": len(rows), "class_names": []}  # fmt: skip
    writer = Writer(folder, plan)
    for number in writer.missing():
        start, stop = writer.bounds(number)
        ids = np.arange(start, stop)
        part = {"features": rows[start:stop]}
        writer.write(number, Shard(ids, [str(i) for i in ids], ids * 0 - 1, part))
    writer.finish()
    return Embeddings(folder)


def clustered(n, d=16, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((50, d))
    rows = centres[rng.integers(0, 50, n)] + 0.5 * rng.standard_normal((n, d))
    return rows.astype(np.float32)


def test_without_faiss_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(DataError, match="pip install 'tfssl.search.'"):
        Approximate(write(tmp_path, clustered(10)))


def test_finds_nearly_all_and_says_how_many(tmp_path):
    pytest.importorskip("faiss")
    said = []
    table = write(tmp_path, clustered(3000))
    search = Approximate(table, said.append)
    queries = clustered(200, seed=0)[:, :]
    truth, cosines = Exact(table)(queries, 10)
    rows, found = search(queries, 10)
    assert overlap(truth, rows) >= 0.9
    np.testing.assert_allclose(found[:, 0], cosines[:, 0], atol=1e-5)
    assert search.description["recall"] >= 0.95
    assert search.description["looked_at"] < search.description["lists"]
    assert "recall@10" in said[-1]


def test_is_built_once_and_again_for_other_embeddings(tmp_path):
    pytest.importorskip("faiss")
    said = []
    table = write(tmp_path / "one", clustered(600))
    first = Approximate(table, said.append)
    again = Approximate(table, said.append)
    assert sum("building" in text for text in said) == 1
    queries = clustered(20)
    np.testing.assert_array_equal(first(queries, 5)[0], again(queries, 5)[0])
    # Other vectors under the same index: it must not be believed.
    other = write(tmp_path / "two", clustered(600, seed=1))
    for name in ("index.faiss", DESCRIPTION):
        (tmp_path / "two" / name).write_bytes((tmp_path / "one" / name).read_bytes())
    Approximate(other, said.append)
    assert sum("building" in text for text in said) == 2
    there = json.loads((tmp_path / "two" / DESCRIPTION).read_text())
    assert there["sha256"] == other.manifest["sha256"]


@pytest.mark.parametrize("n", [1, 5])
def test_few_rows(tmp_path, n):
    pytest.importorskip("faiss")
    rows = clustered(n)
    found, _ = Approximate(write(tmp_path, rows), lambda text: None)(rows, 10)
    assert found[:, 0].tolist() == list(range(n))
