"""Several label fractions in one command: a folder a point, a table, a picture."""

import json
import shutil

import pytest

from tests.tasks.test_end_to_end import argv
from tests.tasks.test_trainings import ENCODER
from tfssl.main import main

pytestmark = pytest.mark.slow

FLAGS = {
    "label_fraction": "2,4",
    "finetune_epochs": 1,
    "finetune_batch_size": 16,
    "train_steps": 1,
    **ENCODER,
}


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
