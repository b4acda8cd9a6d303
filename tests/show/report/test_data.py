"""Reading a log that is still being written, and refusing parts that do not fit."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tfssl.errors import DataError
from tfssl.show.report import ReportData, read_log


def test_half_written_last_line_is_left_out(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text(
        '{"step": 1, "loss": 2.5}\n{"step": 2, "loss": NaN}\n{"step": 3, "lo'
    )
    rows = read_log(path)
    assert [r["step"] for r in rows] == [1, 2]
    assert np.isnan(rows[1]["loss"])


def test_rubbish_between_rows_is_left_out(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(
        b'{"step": 1}\n{"step"{"step": 2}\n7\n[]\n\n\xff\xfe\n{"step": 3}\n'
    )
    assert [r["step"] for r in read_log(path)] == [1, 3]


def test_a_resumed_run_replaces_the_steps_it_repeats(tmp_path):
    path = tmp_path / "log.jsonl"
    steps = [(10, "a"), (20, "a"), (30, "a"), (20, "b"), (30, "b"), (40, "b")]
    path.write_text("".join(json.dumps({"step": s, "run": r}) + "\n" for s, r in steps))
    got = [(r["step"], r["run"]) for r in read_log(path)]
    assert got == [(10, "a"), (20, "b"), (30, "b"), (40, "b")]


def test_missing_file_has_no_rows(tmp_path):
    assert read_log(tmp_path / "log.jsonl") == []


def test_parts_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match="4 features, 3 labels"):
        ReportData(features=np.zeros((4, 2)), labels=np.zeros(3, int))
    with pytest.raises(DataError, match="uint8"):
        ReportData(images=np.zeros((4, 8, 8, 3), np.float32))
    with pytest.raises(DataError, match="5 dimensions"):
        ReportData(views=np.zeros((4, 8, 8, 3), np.uint8))


def test_names_of_classes():
    data = ReportData(labels=np.array([1, -1]), class_names=["cat", "dog"])
    assert data.class_name(data.label_of(0)) == "dog"
    assert data.class_name(data.label_of(1)) == ""
    assert data.class_name(5) == "class 5"
