"""`--mode=transfer` from end to end on a tiny run."""

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import tfssl
from tests.pictures import tree
from tests.tiny import pretrained
from tfssl.build import (
    kept_features,
    transfer_bench,
    transfer_finetuning,
    transfer_tables,
)
from tfssl.config import Config, resolve, transfer_sets
from tfssl.config.rules import validate
from tfssl.config.transfer_sets import SWEEPS, Sweep
from tfssl.data import open_source
from tfssl.data.subset import Joined
from tfssl.embeddings.writing import Writer
from tfssl.errors import ConfigError, DataError
from tfssl.evaluate.result import Result

FEW = (1e-3, 1.0, 1e3)


def sets(root):
    return [
        "shapes:60", f"tones=folder:{root}/tones", f"arrays:{root}/several.npz", "dtd"
    ]  # fmt: skip


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """A run, its untrained encoder and a copy of the run on three data sets."""
    root = tmp_path_factory.mktemp("transfer")
    tree(root / "tones", ["a", "b"], 12, "train", size=(20, 18))
    tree(root / "tones", ["a", "b"], 6, "test", size=(20, 18))
    (root / "tones/test/a/broken.jpg").write_bytes(b"no picture")
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (80, 16, 16, 3), np.uint8)
    images[:40, ..., 0] //= 8
    targets = np.stack([images[..., 0].mean((1, 2)) < 60, rng.random(80) < 0.5], 1)
    np.savez(root / "several.npz", images=images, labels=targets)
    pretrained(root / "run")
    shutil.copytree(root / "run", root / "other")
    flags = {
        "run_dir": root / "run",
        "data_dir": root,
        "baselines": True,
        "transfer": sets(root),
        "transfer_runs": [str(root / "other")],
        "transfer_shots": [1, 5, 100],
        "transfer_draws": 2,
        "progress": False,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transfer_bench, "L2_VALUES", FEW)
        patch.setattr(kept_features, "SHARD_ROWS", 16)
        yield root, flags, tfssl.transfer(**flags)


@pytest.mark.slow
def test_the_table(compared):
    root, _, found = compared
    assert [each["name"] for each in found["sets"]] == [*_names(root)]
    assert found["sets"][1]["images"] == {"train": 22, "validation": 2, "test": 13}
    assert [each["name"] for each in found["missing"]] == ["dtd"]
    assert "tfds build dtd" in found["missing"][0]["prepare"]
    titles = [table["protocol"] for table in found["tables"]]
    assert titles == ["linear", "knn", "few_shot 1", "few_shot 5"]
    linear, knn, one, _ = found["tables"]
    assert linear["metrics"] == ["top1", "top1", "map"]
    assert knn["sets"] == one["sets"] == [*_names(root)][:2]
    names = [row["name"] for row in linear["rows"]]
    assert names == ["Raw pixels", "Untrained encoder", "Trained encoder",
                     f"{root}/other"]  # fmt: skip
    for table in (linear, knn):
        for column in zip(*(row["cells"] for row in table["rows"]), strict=True):
            best = max(column, key=lambda cell: cell["value"])
            assert best["bold"] and best["p"] is None
            for cell in column:
                low, high = cell["interval"]
                assert low <= cell["value"] <= high
                assert cell["bold"] == (cell is best or cell["p"] > 0.05)
    assert sum(row["rank"] for row in linear["rows"]) == pytest.approx(10)
    assert linear["rows"][2]["rank"] == linear["rows"][3]["rank"]
    for mine, copied in zip(linear["rows"][2]["cells"], linear["rows"][3]["cells"],
                            strict=True):  # fmt: skip
        assert mine["value"] == copied["value"]
    assert len(one["rows"]) == 8 and one["rows"][4]["name"] == "Raw pixels, kNN"
    assert all(cell["spread"] >= 0 for row in one["rows"] for cell in row["cells"])


def _names(root):
    return "shapes:60", "tones", f"arrays:{root}/several.npz"


@pytest.mark.slow
def test_fine_tuning_sweeps_chooses_and_goes_on_where_it_was_stopped(
    compared, tmp_path, monkeypatch
):
    root, flags, _ = compared
    shutil.copytree(root / "run/checkpoints", tmp_path / "checkpoints")
    shutil.copy(root / "run/flags.cfg", tmp_path)
    few = {key: Sweep(2, (1e-3, 1e-1), (1e-4,)) for key in SWEEPS}
    monkeypatch.setattr(transfer_bench, "SWEEPS", few)
    flags = {**flags, "run_dir": tmp_path, "transfer": sets(root)[1:3],
             "transfer_runs": [], "transfer_shots": [], "baselines": False,
             "transfer_sweep": "short"}  # fmt: skip
    made, real = [], transfer_finetuning.finetuning

    def counted(settings, data, start, steps):
        if len(made) == stop_at:
            raise KeyboardInterrupt
        made.append((Path(settings.run_dir).name, data.num_examples, bool(start)))
        rate, decay = settings.finetune_learning_rate[0], settings.finetune_weight_decay
        assert rate * decay == pytest.approx(1e-4)
        return real(settings, data, start, steps)

    monkeypatch.setattr(transfer_finetuning, "finetuning", counted)
    stop_at = 1
    with pytest.raises(KeyboardInterrupt):
        tfssl.transfer(**flags)
    stop_at = None
    found = tfssl.transfer(**flags)
    names = ["rate-0.001-decay-0.0001", "rate-0.1-decay-0.0001", "best"]
    assert made[:3] == [
        (name, n, True) for name, n in zip(names, (22, 22, 24), strict=True)
    ]
    # Images with several labels: validation images join for the last training, too.
    counts = [n for _, n, _ in made[3:]]
    assert [name for name, _, _ in made[3:]] == names
    assert counts[0] == counts[1] < counts[2]
    (table,) = [each for each in found["tables"] if each["protocol"] == "finetune"]
    assert table["sets"][0] == "tones" and table["metrics"] == ["top1", "map"]
    assert [row["name"] for row in table["rows"]] == ["Trained encoder"]
    one, several = [s for s in tfssl.load(tmp_path).scores if "finetune" in s.protocol]
    assert one.found["rate"] in (1e-3, 1e-1) and one.counts.scored == 12
    assert list(several.metrics)[0] == "map" and "map_11" in several.metrics
    assert 0 < several.metrics["map"] < 1 and "map" in several.intervals
    assert not [*tmp_path.glob("transfer/finetune/*/*/checkpoints/step-*")]


def test_two_sources_one_after_the_other():
    first, second = (
        open_source("shapes:40", s, image_size=16) for s in ("train", "test")
    )
    both = Joined(first, second)
    assert both.num_examples == first.num_examples + second.num_examples
    rows = tf.data.Dataset.from_tensor_slices([0, 39, 40, 41]).map(both.example)
    for index, row in zip((0, 39, 40, 41), rows.as_numpy_iterator(), strict=True):
        part, place = (first, index) if index < 40 else (second, index - 40)
        want = part.example(tf.constant(place, tf.int64))
        np.testing.assert_array_equal(row["image"], want["image"])
        assert row["id"] == both.ids[index] and row["label"] == both.labels[index]
        assert both.where(index) == part.where(place)


@pytest.mark.slow
def test_scores_and_files(compared):
    root, _, found = compared
    results = json.loads((root / "run/results.json").read_text())
    scores = {
        (s["protocol"], s["subject"], s["settings"]["set"])
        for s in results["scores"]
        if s["protocol"].startswith("transfer")
    }
    assert ("transfer_linear", f"{root}/other", "tones") in scores
    assert len(scores) == 4 * 3 + 4 * 2 + 4 * 2  # the shots replace no other
    assert any("broken.jpg" in row["path"] for row in results["skipped_files"])
    tones = next(s for s in results["scores"] if s["settings"].get("set") == "tones")
    assert tones["counts"]["skipped"] == 1 and tones["counts"]["scored"] == 12
    with open(root / "run/transfer/table.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 * 3 + 4 * 2 + 2 * 8 * 2
    cell = found["tables"][0]["rows"][2]["cells"][0]
    (row,) = [
        r for r in rows
        if (r["protocol"], r["encoder"], r["data_set"])
        == ("linear", "Trained encoder", "shapes:60")
    ]  # fmt: skip
    assert float(row["value"]) == cell["value"] and row["bold"] == str(
        int(cell["bold"])
    )
    latex = (root / "run/transfer/table.tex").read_text()
    assert latex.count(r"\begin{tabular}") == 4 and r"\textbf{" in latex
    page = tfssl.report(run_dir=root / "run", data_dir=root)
    with open(page) as file:
        text = file.read()
    assert text.count('<table class="heat">') == 4
    assert "dtd is not here: tfds build dtd" in text


@pytest.mark.slow
def test_goes_on_after_an_end_anywhere_and_is_equal(compared, monkeypatch):
    root, flags, found = compared
    whole = json.dumps(found)
    done = sorted((root / "run/transfer/results").iterdir())
    kept = {file.name: file.read_bytes() for file in done}
    # In the middle of writing features, and in the middle of a sweep.
    write, fit, fits = Writer.write, transfer_bench.chosen, []

    def stopping(self, number, shard):
        if number == 2:
            raise KeyboardInterrupt
        write(self, number, shard)

    def stopping_fit(*a, **k):
        fits.append(1)
        if len(fits) == 3:
            raise KeyboardInterrupt
        return fit(*a, **k)

    again = {**flags, "run_dir": root / "again", "init_from": root / "run"}
    for owner, name, instead in (
        (Writer, "write", stopping),
        (transfer_bench, "chosen", stopping_fit),
    ):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(owner, name, instead)
            tfssl.transfer(**again)
    result = json.dumps(tfssl.transfer(**again))
    assert result == whole
    # The same command once more measures nothing.
    monkeypatch.setattr(transfer_bench, "chosen", None)
    monkeypatch.setattr(Writer, "write", None)
    assert json.dumps(tfssl.transfer(**again)) == whole
    assert {f.name for f in (root / "again/transfer/results").iterdir()} == set(kept)


@pytest.mark.slow
def test_what_is_wrong_is_found_before_the_first_step(compared, tmp_path):
    root, flags, _ = compared
    tree(tmp_path / "set", ["x", "y"], 4, "train")
    tree(tmp_path / "set", ["rare"], 1, "train")
    tree(tmp_path / "set", ["x"], 2, "test")
    with pytest.raises(DataError, match="too few images of rare"):
        tfssl.transfer(**{**flags, "transfer": f"shapes:60,folder:{tmp_path}/set"})
    with pytest.raises(DataError, match="nothing is there.*tfds build dtd"):
        tfssl.transfer(**{**flags, "transfer": "dtd"})


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({}, "without --transfer"),
        ({"transfer": ("cifar01",)}, "cifar10, cifar100.*try --transfer=cifar10"),
        ({"transfer": ("folder:/nowhere",)}, "/nowhere is not there"),
        ({"transfer": ("pets", "pets")}, "pets twice"),
        ({"transfer": ("pets",), "transfer_shots": (1.5,)}, "whole numbers"),
        ({"transfer": ("pets",), "run_dir": "gs://b/run"}, "on this disk"),
    ],
)
def test_flags_that_cannot_be(flags, words):
    config = Config(**{"mode": "transfer", "run_dir": "r", **flags})
    problems = "\n".join(validate(resolve(config)))
    assert re.search(words, problems), problems


def test_flags_that_can_be():
    config = Config(mode="transfer", run_dir="r", transfer=("papers", "x=shapes:60"))
    assert validate(resolve(config)) == []


def result(value, credit, **more):
    ids = np.arange(len(credit))
    found = {"metrics": {"top1": value}, "intervals": {}, "found": {}, "note": ""}
    found |= {"counts": None, "confusion": None, "ids": ids, "credit": credit} | more
    return Result(**found)


def test_published_numbers_and_ranks_stand_in_the_table():
    right = np.ones(40)
    results = {
        "cifar10": {("linear", "trained"): result(1.0, right),
                    ("linear", "b"): result(0.5, right * (np.arange(40) % 2))},
        "mine": {("linear", "trained"): result(0.9, right),
                 ("linear", "b"): result(0.9, right)},
    }  # fmt: skip
    about = [{"name": name, "metric": "top1"} for name in results]
    (table,) = transfer_tables.tables("resnet50", about, ["trained", "b"], results)
    ours, other, *papers = table.rows
    assert (ours.rank, other.rank) == (1.25, 1.75)
    assert [cell.bold for cell in ours.cells] == [True, True]
    assert [cell.bold for cell in other.cells] == [False, True]
    assert other.cells[0].p == pytest.approx(2**-19)
    assert {row.name for row in papers} == {
        "SimCLR resnet50, published", "BYOL resnet50, published"
    }  # fmt: skip
    assert all(row.published and row.cells[1] is None for row in papers)
    with pytest.raises(ConfigError, match="one of"):
        transfer_sets.chosen_sets(["nothing"])
