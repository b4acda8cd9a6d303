"""Several label fractions in one command: a folder a point, a table, a picture."""

import dataclasses
import json
import shutil

import pytest

from tests.tasks.test_end_to_end import argv
from tests.tasks.test_trainings import ENCODER
from tfssl.config import Config, resolve
from tfssl.main import main
from tfssl.runs import RunDirectory
from tfssl.runs.scores import TRAINED, Score, add_score
from tfssl.tasks import Outcome, label_curve

FLAGS = {
    "label_fraction": "2,4",
    "finetune_epochs": 1,
    "finetune_batch_size": 16,
    "train_steps": 1,
    **ENCODER,
}


@pytest.mark.slow
def test_a_curve_is_measured_shown_and_goes_on_after_a_kill(tmp_path, capsys):
    modes = "pretrain,finetune,report"
    words = argv("simclr", tmp_path, mode=modes, **FLAGS)
    assert main(words) == 0
    points = tmp_path / "labels"
    assert sorted(p.name for p in points.iterdir()) == ["2-seed-5", "4-seed-5"]
    images = [
        json.loads((p / "labels.json").read_text())["images"] for p in points.iterdir()
    ]
    assert sorted(images) == [20, 40]
    said = capsys.readouterr().out
    assert "2 (20 images)" in said and "fine-tuned" in said
    page = (tmp_path / "report" / "index.html").read_text()
    assert "Accuracy against labels" in page and "4 (40 images)" in page
    # The same command repeats nothing but the point that is gone.
    log = points / "2-seed-5" / "finetune" / "log.jsonl"
    kept = log.stat().st_mtime_ns
    shutil.rmtree(points / "4-seed-5")
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "finetune, labels 2-seed-5: is there" in said
    assert (points / "4-seed-5" / "finetune.done.cfg").exists()
    assert log.stat().st_mtime_ns == kept


@pytest.mark.parametrize("students", [("a", "b"), ("b",), ()])
def test_in_a_curve_the_first_student_teaches_the_second(tmp_path, students):
    flags = {"student_encoder": students, "label_seeds": 2, "dataset": "shapes:40"}
    flags |= {"run_dir": str(tmp_path), "mode": "distill,distill", "teacher": ""}
    config = resolve(Config(**flags))
    seen = []

    def task(one):
        seen.append(one)
        name = (*one.student_encoder, one.encoder)[0]
        score = Score("distill", "d", TRAINED, {"top1": 0.5}, {"encoder": name})
        own = RunDirectory(f"{one.run_dir}/distill")
        for folder in (RunDirectory(one.run_dir), own):  # as a distillation does
            with folder:
                where = f"checkpoints/of-{folder.path.name}"
                add_score(folder, dataclasses.replace(score, checkpoint=where))
        return Outcome(str(own.path), flags={"student_encoder": ()})

    for earlier in (0, 1):
        found = label_curve.run(config, "distill", task, earlier).value
    point = tmp_path / "labels" / "1-seed-0"
    first, second = seen[0], seen[2]
    assert first.teacher == str(point / "finetune") and first.run_dir == str(point)
    assert second.teacher == second.run_dir == str(point / "distill")
    names = [(*one.student_encoder, "resnet18")[0] for one in (first, second)]
    assert names == {0: ["resnet18"] * 2, 1: ["b", "b"], 2: ["a", "b"]}[len(students)]
    # Each student counts once for each seed, though its own folder repeats its score.
    assert [p.draws for curve in found for p in curve.points] == [2] * len({*names})
