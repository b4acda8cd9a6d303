"""A report of a chain: the run, and the runs inside it that began from it."""

import numpy as np
import pytest

from tfssl.config import Config, resolve
from tfssl.runs import RunDirectory
from tfssl.runs.scores import Confusion, Score, add_score
from tfssl.tasks import report
from tfssl.tasks.preconditions import passed_over
from tfssl.tasks.report import chain


@pytest.mark.parametrize("root", ["{tmp}", "ram://report-chain"])
def test_runs_inside_a_run_are_found(tmp_path, root):
    root = root.format(tmp=tmp_path)
    for place, top1 in (("", 0.1), ("/finetune", 0.2), ("/finetune/detect", 0.3)):
        directory = RunDirectory(root + place)
        directory.path.mkdir(parents=True, exist_ok=True)
        (directory.path / "checkpoints").mkdir(parents=True, exist_ok=True)
        table = Confusion.of(np.zeros(3, int), np.zeros(3, int), ["a"])
        score = Score("knn", "x", "trained", {"top1": top1}, confusion=table)
        add_score(directory, score)
    got = [(r.name, r.scores[0].metrics["top1"]) for r in chain(RunDirectory(root))]
    assert got == [("", 0.1), ("finetune", 0.2), ("finetune/detect", 0.3)]
    assert all(len(run.confusions) == 1 for run in chain(RunDirectory(root)))
    assert [r.scores for r in chain(RunDirectory(f"{root}/nothing"))] == [[]]


def test_a_run_whose_images_are_elsewhere_has_a_report(tmp_path, capsys):
    for dataset in (f"folder:{tmp_path}/no", "list:/no/such.txt", "arrays:/no.npz"):
        config = resolve(Config(dataset=dataset, run_dir=str(tmp_path)))
        assert passed_over(config, ["report"]) == {}
        assert report._views(config) is None
        assert "shows no views" in capsys.readouterr().out
