"""embed, search and select from end to end on a tiny run."""

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import tfssl
from tests.pictures import encoded, picture, tree
from tests.tiny import pretrained
from tests.worker_processes import ROOT
from tfssl.embeddings.reading import Embeddings
from tfssl.embeddings.writing import Writer
from tfssl.errors import CheckpointError, DataError, RunDirectoryError

pytestmark = pytest.mark.slow

ALL = {"embed_split": "all", "embed_shard_rows": 7, "progress": False}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on a folder of two classes with one broken file and one copy."""
    root = tmp_path_factory.mktemp("embed")
    tree(root / "photos", ["cat", "dog"], 20, size=(20, 18))
    (root / "photos/cat/broken.jpg").write_bytes(b"no picture")
    copy = root / "photos/dog/copy.png"
    copy.write_bytes((root / "photos/cat/003.png").read_bytes())
    pretrained(root / "run", f"folder:{root}/photos")
    tfssl.embed(run_dir=root / "run", **ALL)
    return root


def lines(file):
    with open(file, newline="") as rows:
        return list(csv.DictReader(rows))


def test_the_vectors_are_the_encoders_features(run):
    table = Embeddings(run / "run/embeddings")
    assert len(table) == 41 and table.class_names == ("cat", "dog")
    ((key, reason),) = table.rows.unreadable
    assert key == str(run / "photos/cat/broken.jpg") and reason
    trained = tfssl.load(run / "run")
    found = trained.embed(f"folder:{run}/photos", split="all", also=["projections"])
    order = np.argsort(found.ids), np.argsort(table.rows.ids)
    np.testing.assert_allclose(
        found.features[order[0]], table.load()[order[1]], atol=1e-5
    )
    assert found.also["projections"].shape == (41, 8)
    assert found.class_names == ("cat", "dog") and len(found.keys) == 41
    for row in (0, 17, 40):
        assert table.class_name(row) == table.rows.keys[row].split("/")[-2]


def test_goes_on_after_an_end_at_any_shard(run, tmp_path, monkeypatch):
    write = Writer.write

    def stopping(self, number, shard):
        if number == 3:
            raise KeyboardInterrupt
        write(self, number, shard)

    for name, more in (("plain", {}), ("pca", {"embed_pca": 4})):
        flags = {"run_dir": run / "run", "embed_normalize": True, **ALL, **more}
        here = tmp_path / name
        whole = Embeddings(tfssl.embed(embeddings=tmp_path / f"whole_{name}", **flags))
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Writer, "write", stopping)
            tfssl.embed(embeddings=here, **flags)
        with pytest.raises(DataError, match="not finished"):
            Embeddings(here)
        again = Embeddings(tfssl.embed(embeddings=here, **flags))
        assert again.rows.keys == whole.rows.keys
        np.testing.assert_allclose(again.load(), whole.load(), atol=1e-5)
        assert not (here / "unreduced").exists()
    np.testing.assert_allclose(np.linalg.norm(again.load(), axis=1), 1, rtol=1e-5)


KILLS = 2


def test_killed_while_it_writes_it_has_every_row_once(run, tmp_path):
    """SIGKILL of the whole command, each time after at least one more shard."""
    flags = [
        "--mode=embed",
        "--embed_split=all",
        "--embed_shard_rows=3",
        "--noprogress",
    ]
    flags += [
        "--embed_batch_size=3",
        f"--run_dir={run}/run",
        f"--embeddings={tmp_path}",
    ]
    command = [sys.executable, "-m", "tfssl.main", *flags]

    def there():
        return len(list(tmp_path.glob("rows-*.csv")))

    for _ in range(KILLS):
        before = there()
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            while process.poll() is None and there() == before:
                time.sleep(0.001)
            process.kill()
        assert not (tmp_path / "manifest.json").exists(), "the kill came too late"
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    whole, again = Embeddings(run / "run/embeddings"), Embeddings(tmp_path)
    assert again.rows.keys == whole.rows.keys
    assert again.rows.unreadable == whole.rows.unreadable
    np.testing.assert_allclose(again.load(), whole.load(), atol=1e-5)
    assert not list(tmp_path.glob(".writing-*"))


def test_a_frame_has_a_row_an_image(run):
    pandas = pytest.importorskip("pandas")
    frame = tfssl.load(run / "run").embed(f"folder:{run}/photos", split="all").frame()
    assert isinstance(frame, pandas.DataFrame) and len(frame) == 41
    assert [*frame.columns[:5]] == ["id", "key", "label", "class_name", "features_0"]
    row = frame[frame.key.str.endswith("dog/007.png")].iloc[0]
    assert row.class_name == "dog" and row.label == 1


def test_beam_writes_the_same_shards(run, tmp_path):
    pytest.importorskip("apache_beam", reason="pip install 'tfssl[beam]'")
    tfssl.export(run_dir=run / "run", export_verify=False)
    command = [sys.executable, "examples/embed_beam.py", f"--run_dir={run}/run"]
    command += ["--embed_split=all", "--embed_shard_rows=7", "--runner=DirectRunner"]
    command += ["--direct_num_workers=2", f"--embeddings={tmp_path}"]
    for _ in range(2):  # the second one finds it complete
        subprocess.run(
            command, check=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
    one, other = Embeddings(run / "run/embeddings"), Embeddings(tmp_path)
    assert one.rows.keys == other.rows.keys
    assert one.rows.unreadable == other.rows.unreadable
    np.testing.assert_allclose(one.load(), other.load(), atol=1e-5)
    files = [{p.name for p in t.folder.iterdir() if p.is_file()} for t in (one, other)]
    assert files[0] == files[1]
    for name in ("weights_sha256", "data_sha256", "transform", "shards", "arrays"):
        assert one.manifest[name] == other.manifest[name], name


def test_other_settings_in_the_same_folder_are_refused(run):
    with pytest.raises(RunDirectoryError, match="dtype"):
        tfssl.embed(run_dir=run / "run", embed_dtype="float16", **ALL)


def test_images_that_changed_are_no_part_of_finished_vectors(run):
    """Under the same name and label: the vectors would be of what is gone."""
    file = run / "photos/dog/005.png"
    before = file.read_bytes()
    file.write_bytes(encoded(picture(99, 20, 18), "PNG"))
    try:
        with pytest.raises(RunDirectoryError, match="with other images_sha256"):
            tfssl.embed(run_dir=run / "run", **ALL)
    finally:
        file.write_bytes(before)
    tfssl.embed(run_dir=run / "run", **ALL)


def test_an_image_finds_itself_and_its_copy(run):
    query = run / "photos/cat/003.png"
    tfssl.search(run_dir=run / "run", query=query, search_k=4)
    found = lines(run / "run/search/neighbours.csv")
    assert [row["rank"] for row in found] == ["1", "2", "3", "4"]
    names = {row["key"].split("photos/")[1] for row in found[:2]}
    assert names == {"cat/003.png", "dog/copy.png"}
    assert float(found[1]["cosine"]) == pytest.approx(1, abs=1e-5)
    page = (run / "run/search/neighbours.html").read_text()
    assert page.count("<img") == 5 and "http" not in page.split("<body>")[1]


def test_a_folder_of_queries_with_a_broken_file(run, tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(
            encoded(picture(number, 20, 18), "PNG")
        )
    (tmp_path / "bad.png").write_bytes(b"")
    tfssl.search(run_dir=run / "run", query=tmp_path, search_k=2)
    found = lines(run / "run/search/neighbours.csv")
    assert len(found) == 6
    own = {row["query"]: row["key"] for row in found if row["rank"] == "1"}
    assert own[str(tmp_path / "1.png")].endswith("photos/cat/001.png")


def test_vectors_of_other_weights_are_not_asked(run, tmp_path):
    query = run / "photos/cat/003.png"
    file = run / "run/embeddings/manifest.json"
    text = file.read_text()
    file.write_text(json.dumps({**json.loads(text), "weights_sha256": "other"}))
    try:
        with pytest.raises(CheckpointError, match="the same weights"):
            tfssl.search(run_dir=run / "run", query=query)
    finally:
        file.write_text(text)


def test_duplicates_as_lists_that_can_be_trained_on(run):
    tfssl.search(run_dir=run / "run", search="duplicates", search_threshold=0.999999)
    groups = lines(run / "run/search/duplicates.csv")
    assert {row["key"].split("photos/")[1] for row in groups} >= {
        "cat/003.png",
        "dog/copy.png",
    }
    from tfssl.data import open_source

    unique = open_source(f"list:{run}/run/search/unique.txt", "all", image_size=16)
    members = sum(1 for _ in groups)
    count = len({row["group"] for row in groups})
    assert unique.num_examples == 41 - members + count
    assert unique.class_names == ("cat", "dog")


def test_outliers_and_scores(run):
    tfssl.search(run_dir=run / "run", search="outliers", search_outliers=5)
    found = [float(r["loneliness"]) for r in lines(run / "run/search/outliers.csv")]
    assert len(found) == 5 and found == sorted(found, reverse=True)
    score = tfssl.search(run_dir=run / "run", search="scores")
    assert score.protocol == "retrieval" and 0 <= score.metrics["map_at_r"] <= 1
    assert score.metrics["recall_at_10"] >= score.metrics["recall_at_1"]
    results = json.loads((run / "run/results.json").read_text())
    assert results["scores"][-1]["protocol"] == "retrieval"


@pytest.mark.parametrize("strategy", ["typical", "coverage", "random"])
def test_a_choice_is_what_the_labelled_modes_read(run, strategy):
    flags = {"run_dir": run / "run", "select_strategy": strategy}
    first = Path(tfssl.select(select=4, **flags))
    kept = run / f"{strategy}.txt"
    kept.write_text(first.read_text())
    rows = [line.split("\t") for line in kept.read_text().splitlines()]
    assert len(rows) == 4 and all(of in path for path, of in rows)
    second = Path(tfssl.select(select=5, labelled=kept, **flags))
    assert not set(second.read_text().splitlines()) & set(kept.read_text().splitlines())
    from tfssl.data import open_source

    part = open_source(
        f"folder:{run}/photos", "all", image_size=16, label_fraction=str(kept)
    )
    assert {part.where(i) for i in range(4)} == {path for path, _ in rows}


def test_two_devices_give_the_vectors_of_one(run, tmp_path):
    flags = ["--strategy=mirrored", "--virtual_devices=2", "--embed_batch_size=5"]
    flags += ["--embed_split=all", "--noprogress", "--embed_also=projections"]
    command = [sys.executable, "-m", "tfssl.main", "--mode=embed", *flags]
    command += [f"--run_dir={run}/run", f"--embeddings={tmp_path}/two"]
    subprocess.run(command, check=True)
    one, two = Embeddings(run / "run/embeddings"), Embeddings(tmp_path / "two")
    assert one.rows.keys == two.rows.keys
    np.testing.assert_allclose(one.load(), two.load(), atol=1e-5)
    assert two.load("projections").shape == (41, 8)


def test_probabilities_of_a_fine_tuned_run(run):
    tuned = tfssl.finetune(
        run_dir=run / "run",
        finetune_epochs=1,
        finetune_batch_size=8,
        progress=False,
        tensorboard=False,
    )
    found = tuned.embed(f"folder:{run}/photos", split="all", also=["probabilities"])
    shares = found.also["probabilities"]
    assert shares.shape == (41, 2)
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-5)
    with pytest.raises(CheckpointError, match="projector"):
        tuned.embed(f"folder:{run}/photos", split="all", also=["projections"])
