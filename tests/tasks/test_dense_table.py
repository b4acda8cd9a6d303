"""A dense task from several starts: a row each, done once, killed and gone on."""

import dataclasses
import json

import pytest

from tests.tasks.test_distill import words
from tests.tasks.test_end_to_end import argv
from tfssl.config import Config, resolve
from tfssl.main import main
from tfssl.runs import RunDirectory
from tfssl.runs.scores import TRAINED, Score, add_score, scores_of
from tfssl.show.dense_tables import dense_tables
from tfssl.show.report import ReportData, build_page
from tfssl.tasks import Outcome, dense_table

VALUES = {("a", 0): 0.5, ("a", 1): 0.7, ("random", 0): 0.2, ("random", 1): 0.4}


def test_means_spread_and_going_on(tmp_path, monkeypatch):
    stored = resolve(Config(method="moco", encoder="resnet18x0.25", run_dir="a"))
    monkeypatch.setattr(dense_table, "_stored", lambda start: stored)
    config = dataclasses.replace(
        stored,
        mode="segment",
        run_dir=str(tmp_path),
        dense_runs=("a", "random"),
        dense_seeds=2,
    )
    done = []

    def task(one):
        start = one.init_from or "random"
        if len(done) == 3:
            done.append("killed")
            raise KeyboardInterrupt
        done.append((start, one.seed))
        value = VALUES[start, one.seed]
        metrics = {"miou": value, "pixel_accuracy": value / 2}
        with RunDirectory(one.run_dir) as directory:
            add_score(
                directory, Score("segment", "set/val", TRAINED, metrics, {"steps": 9})
            )
        return Outcome()

    with pytest.raises(KeyboardInterrupt):
        dense_table.run(config, "segment", task)
    assert [s.subject for s in scores_of(RunDirectory(tmp_path).read_results())] == [
        "a"
    ]
    rows = dense_table.run(config, "segment", task).value
    # Each training once, but for the one that was killed.
    assert done == [("a", 0), ("a", 1), ("random", 0), "killed", ("random", 1)]
    assert rows == scores_of(RunDirectory(tmp_path).read_results())
    a, random = rows
    assert (a.subject, random.subject) == ("a", "scratch")
    assert a.metrics == pytest.approx({"miou": 0.6, "pixel_accuracy": 0.3})
    assert a.found["std"]["miou"] == pytest.approx(0.02**0.5)
    assert a.found["by_seed"]["miou"] == [0.5, 0.7]
    assert a.settings == {"steps": 9, "first_seed": 0}
    (table,) = dense_tables(rows)
    assert table.heads == ("begun from", "mIoU", "Pixel accuracy")
    assert table.rows == [
        ("random weights", "30.0 ± 14.1", "15.0 ± 7.1"),
        ("a", "60.0 ± 14.1 (+30.0)", "30.0 ± 7.1 (+15.0)"),
    ]
    page = build_page(ReportData(results=RunDirectory(tmp_path).read_results()))
    for text in ("What pre-training is worth", "60.0 ± 14.1 (+30.0)", "random weights"):
        assert text in page
    # The newest command counts.
    config = dataclasses.replace(config, dense_seeds=1)
    dense_table.run(config, "segment", task)
    again = scores_of(RunDirectory(tmp_path).read_results())
    assert [s.metrics["miou"] for s in again] == [0.5, 0.2]
    assert "One seed." in dense_tables(again)[0].note
    # Another recipe is another row, and another table.
    other = dataclasses.replace(a, settings={"steps": 10})
    assert len(dense_tables([*rows, other])) == 2
    assert dense_tables([Score("segment", "x", TRAINED, {"miou": 1.0})]) == []


@pytest.mark.slow
def test_segmentation_from_two_starts(tmp_path, capsys):
    small = {"dataset": "shapes:24", "image_size": 64, "encoder": "resnet10x0.125"}
    run, table = tmp_path / "run", tmp_path / "table"
    assert main(argv("moco", run, **small, train_steps=1)) == 0
    given = words(
        "segment",
        table,
        dataset="shapes:24",
        eval_split="test[:8]",
        dense_runs=f"{run},random",
        seed=0,  # else the first run's, 5
        segment_steps=1,
        segment_batch_size=4,
        segment_width=16,
    )
    assert main(given) == 0
    said = capsys.readouterr().out
    assert "begun from" in said and "random weights" in said
    scores = json.loads((table / "results.json").read_text())["scores"]
    assert [s["subject"] for s in scores] == [str(run), "scratch"]
    assert all(len(s["found"]["by_seed"]["miou"]) == 1 for s in scores)
    folders = sorted(p.name for p in (table / "segment_runs").iterdir())
    assert [name.rpartition("-seed-")[2] for name in folders] == ["0", "0"]
    assert (table / "segment_runs" / "random-seed-0" / "segment_random").is_dir()
    assert main(given) == 0  # nothing is trained again
    assert capsys.readouterr().out.count("is there") == 2
