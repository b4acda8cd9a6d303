"""The disk is looked at before a training whose checkpoints would fill it."""

import logging
import types

import pytest
import tensorflow as tf

from tfssl.build import training
from tfssl.config import Config
from tfssl.errors import CheckpointError
from tfssl.runs import RunDirectory, store
from tfssl.train import Recorder, Settings

MEGABYTE = {
    "a": tf.Variable(tf.zeros([240_000])),
    "step": tf.Variable(0, dtype="int64"),
}
STATE = types.SimpleNamespace(items=lambda: MEGABYTE)


def look(tmp_path, monkeypatch, free, total=10, **settings):
    disk = types.SimpleNamespace(free=int(free * 1e6))
    monkeypatch.setattr(store.shutil, "disk_usage", lambda where: disk)
    how = Settings(save_every=1, **settings)
    recorder = Recorder(RunDirectory(tmp_path / "no" / "run"), how, name="x", texts={})
    recorder.require_room(STATE, total)


def test_nothing_is_said_where_there_is_room(tmp_path, monkeypatch, caplog):
    look(tmp_path, monkeypatch, 3)
    assert not caplog.records and not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    ("settings", "total", "count"),
    [
        ({}, 10, 3),
        ({}, 1, 2),  # a short run writes fewer than it may keep
        ({"keep_every": 5}, 10, 5),
        ({"trainings": 3}, 10, 9),
    ],
)
def test_too_little_for_all_is_a_warning_with_numbers(
    tmp_path, monkeypatch, caplog, settings, total, count
):
    with caplog.at_level(logging.WARNING, "tfssl"):
        look(tmp_path, monkeypatch, count * 0.96 - 0.1, total, **settings)
    (record,) = caplog.records
    assert f"up to {count} checkpoints of 1.0 MB" in record.getMessage()
    look(tmp_path, monkeypatch, count * 0.96 + 0.1, total, **settings)
    assert len(caplog.records) == 1


def test_no_room_for_one_is_refused(tmp_path, monkeypatch):
    with pytest.raises(CheckpointError, match=r"0.5 MB free in .*1.0 MB.*run_dir="):
        look(tmp_path, monkeypatch, 0.5)


@pytest.mark.parametrize(
    ("mode", "name", "trainings"),
    [
        ("pretrain", "pretrain", 1),
        ("pretrain,knn,linear,finetune,export", "pretrain", 3),
        ("finetune,linear", "finetune", 2),
        ("knn,linear,report", "linear", 1),
        ("doctor", "pretrain", 1),
    ],
)
def test_later_trainings_of_the_command_count(mode, name, trainings):
    asked = training._from(Config(mode=mode), name)
    assert (
        sum(training.Recording in training.TASKS[m].reads for m in asked) == trainings
    )
