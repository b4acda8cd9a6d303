"""NaN in a run: rewound with half the learning rate, and resumed to the same end."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tests.tasks.test_end_to_end import argv, tensors
from tfssl.main import main
from tfssl.runs import checkpoint
from tfssl.train import job, make_run_steps

# The rate at which step 4 of this run still is whole; above it there is NaN.
LIMIT = 0.02


def breaking(strategy, state, *args, **kwargs):
    """The real steps, whose loss is NaN at step 4 while the rate is above LIMIT."""
    run = make_run_steps(strategy, state, *args, **kwargs)

    def steps(iterator, count):
        first = int(state.step.numpy())
        table = run(iterator, count)
        number = first + np.arange(int(count))
        bad = (number == 4) & (table["learning_rate"].numpy() > LIMIT)
        table["loss"] = tf.where(bad, np.nan, table["loss"])
        return table

    return steps


FLAGS = {"learning_rate": 0.8, "warmup_epochs": 0.0, "lr_schedule": "constant"}
# 0.8 * 16 / 256 = 0.05: after two rewinds 0.0125.


@pytest.fixture
def breaks(monkeypatch):
    monkeypatch.setattr(job, "make_run_steps", breaking)


def rows(run_dir):
    return [json.loads(line) for line in (run_dir / "log.jsonl").open()]


@pytest.mark.slow
def test_without_rewinds_it_stops_and_keeps_the_checkpoint(tmp_path, breaks, capsys):
    assert main(argv("simclr", tmp_path, **FLAGS)) == 1
    said = capsys.readouterr().err
    assert "the loss = nan at step 4" in said and "--rewind_on_nan" in said
    assert checkpoint.damage(tmp_path / "checkpoints" / "step-000000003") is None


@pytest.mark.slow
def test_rewinds_until_it_holds_and_resumes_to_the_same(tmp_path, breaks):
    flags = argv("simclr", tmp_path, rewind_on_nan=2, **FLAGS)
    assert main(flags) == 0
    assert [row["step"] for row in rows(tmp_path)] == [2, 4, 6]
    assert rows(tmp_path)[0]["learning_rate"] == pytest.approx(0.05)
    assert rows(tmp_path)[-1]["learning_rate"] == pytest.approx(0.0125)
    assert rows(tmp_path)[-1]["rate_factor"] == 0.25
    whole = tensors(tmp_path)
    assert whole["rate_factor"] == 0.25
    # As if it had been killed before the first checkpoint after the rewinds.
    shutil.rmtree(tmp_path / "checkpoints" / "step-000000006")
    assert main(flags) == 0
    again = tensors(tmp_path)
    assert all(np.array_equal(whole[name], again[name]) for name in whole)


@pytest.mark.slow
def test_gives_up_after_the_allowed_number(tmp_path, breaks):
    assert main(argv("simclr", tmp_path, rewind_on_nan=1, **FLAGS)) == 1
    assert [row["step"] for row in rows(tmp_path)][-1] <= 4
